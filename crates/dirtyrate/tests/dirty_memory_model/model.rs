//! The rules of dirty memory in the simplest form: one set of pages for each client and block, one set for what the
//! kernel has logged, and one for what it protects. Nothing here depends on how `DirtyMemory` works.

use std::collections::{BTreeMap, BTreeSet};

use dirtyrate::dirty_memory::{Client, FakeCall, FakeProtect};
use dirtyrate::{BlockId, BlockInfo};

use super::block::{Block, Calls};
use super::pages::Pages;
use super::windows::{Asked, Chunk, History, Span, Tick};

/// Why an operation did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    Log,
    Cancelled,
    Argument,
    Layout,
    State,
    Paused,
    /// The caller's `delete` failed.
    Delete,
}

pub type Outcome<T> = Result<T, Refusal>;

/// What was taken of one block, with the spans of each chunk.
#[derive(Debug)]
pub struct Taken {
    client: Client,
    block: BlockId,
    pages: Pages,
    spans: Vec<Vec<Span>>,
}

impl Taken {
    pub fn pages(&self) -> &Pages {
        &self.pages
    }
}

/// CODE's bits come from the host alone.
fn follows_log(client: Client) -> bool {
    client != Client::Code
}

fn begins_full(client: Client) -> bool {
    client == Client::Migration || client == Client::Vga
}

/// What a call to the log takes, whether it fails or not.
const CALL_TICKS: Tick = 2;

#[derive(Debug)]
pub struct Model {
    protect: FakeProtect,
    chunk_pages: u64,
    page_size: u64,
    /// By guest address.
    pub blocks: Vec<Block>,
    /// Gone, and some client has bits of them.
    pub removed: Vec<Block>,
    tracking: BTreeSet<Client>,
    pub accumulators: BTreeSet<Client>,
    pub calls: Calls,
    pub history: History,
    pub asked: BTreeMap<Client, Asked>,
}

impl Model {
    pub fn new(protect: FakeProtect, chunk_pages: u64, page_size: u64) -> Self {
        Self {
            protect,
            chunk_pages,
            page_size,
            blocks: Vec::new(),
            removed: Vec::new(),
            tracking: BTreeSet::new(),
            accumulators: BTreeSet::new(),
            calls: Calls::default(),
            history: History::default(),
            asked: BTreeMap::new(),
        }
    }

    pub fn exists(&self, client: Client) -> Outcome<()> {
        let open = !matches!(client, Client::Accumulator(_)) || self.accumulators.contains(&client);
        if open { Ok(()) } else { Err(Refusal::Argument) }
    }

    pub fn is_tracking(&self, client: Client) -> bool {
        (0..self.blocks.len()).any(|at| self.tracks(client, at)) || self.tracking.contains(&client)
    }

    /// Whether the client tracks a block.
    pub fn tracks(&self, client: Client, at: usize) -> bool {
        if client == Client::Vga { self.blocks[at].vga } else { self.tracking.contains(&client) }
    }

    fn trackers(&self, at: usize) -> Vec<Client> {
        let vga = self.blocks[at].vga.then_some(Client::Vga);
        self.tracking.iter().copied().chain(vga).collect()
    }

    /// Whether some client other than `except` needs the block's log.
    fn is_needed(&self, at: usize, except: Option<Client>) -> bool {
        self.trackers(at).into_iter().any(|client| follows_log(client) && Some(client) != except)
    }

    /// Whether each block is logged that somebody needs, and no other.
    pub fn logs_what_is_needed(&self) -> bool {
        (0..self.blocks.len()).all(|at| self.blocks[at].logging == self.is_needed(at, None))
    }

    // The kernel's log.

    fn call(&mut self, call: FakeCall) -> Outcome<()> {
        // A call begins at one tick and ends at the next but one.
        self.history.now += CALL_TICKS;
        if self.calls.fails(call) { Err(Refusal::Log) } else { Ok(()) }
    }

    fn not_cancelled(&self) -> Outcome<()> {
        if self.calls.cancelled() { Err(Refusal::Cancelled) } else { Ok(()) }
    }

    fn set_logging(&mut self, at: usize, on: bool) -> Outcome<()> {
        self.call(FakeCall::SetLogging)?;
        let all_ones = on && self.protect == FakeProtect::ManualInitiallySet;
        let block = &mut self.blocks[at];
        let (none, all) = (Pages::none(block.info.pages), Pages::all(block.info.pages));
        block.logging = on;
        block.logged = if all_ones { all.clone() } else { none.clone() };
        block.protected = if on && !all_ones { all } else { none };
        for chunk in &mut block.chunks {
            (chunk.first_round, chunk.opened, chunk.fetched) = (all_ones, self.history.now, None);
        }
        Ok(())
    }

    fn fetch(&mut self, at: usize) -> Outcome<Pages> {
        let began = self.history.now;
        self.call(FakeCall::Fetch)?;
        let told: Vec<_> = self.trackers(at).into_iter().filter(|&client| follows_log(client)).collect();
        let fetched = self.blocks[at].logged.clone();
        if self.protect == FakeProtect::Automatic {
            self.protect_pages(at, &fetched);
        }
        for chunk in &mut self.blocks[at].chunks {
            chunk.fetch(began, &told);
            // A chunk without dirty pages is still protected.
            if self.protect == FakeProtect::Automatic || chunk.pages.common(&fetched).is_empty() {
                chunk.opened = self.history.now;
            }
        }
        Ok(fetched)
    }

    fn reprotect(&mut self, at: usize, chunk: usize, pages: &Pages) -> Outcome<()> {
        self.call(FakeCall::Reprotect)?;
        self.protect_pages(at, pages);
        let chunk = &mut self.blocks[at].chunks[chunk];
        (chunk.first_round, chunk.opened) = (false, self.history.now);
        Ok(())
    }

    fn protect_pages(&mut self, at: usize, pages: &Pages) {
        self.blocks[at].logged.take_away(pages);
        self.blocks[at].protected.add(pages);
    }

    // What a sync is made of.

    /// Makes each block's log what its clients need. Every block is tried.
    fn adjust_logging(&mut self) -> Outcome<()> {
        let mut outcome = Ok(());
        for at in 0..self.blocks.len() {
            let needed = self.is_needed(at, None);
            if self.blocks[at].logging != needed {
                outcome = outcome.and(self.set_logging(at, needed));
            }
        }
        outcome
    }

    /// Fetches a block's log and gives every page in it to every client that tracks.
    fn fetch_and_give(&mut self, at: usize) -> Outcome<Pages> {
        let fetched = self.fetch(at)?;
        for client in self.trackers(at).into_iter().filter(|&client| follows_log(client)) {
            self.blocks[at].give(client, &fetched);
        }
        Ok(fetched)
    }

    fn sync_block(&mut self, at: usize) -> Outcome<u64> {
        let fetched = self.fetch_and_give(at)?;
        if self.protect != FakeProtect::Automatic {
            for chunk in 0..self.blocks[at].chunks.len() {
                let dirty = self.blocks[at].chunks[chunk].pages.common(&fetched);
                if !dirty.is_empty() {
                    self.not_cancelled()?;
                    self.reprotect(at, chunk, &dirty)?;
                }
            }
        }
        Ok(fetched.len())
    }

    /// Protects the chunks that are in their first round. No client gets the ones of that round, nor what the guest
    /// wrote in it. A client that began full has these bits already, or has ended the round before it took them.
    fn end_first_round(&mut self, at: usize) -> Outcome<()> {
        for chunk in 0..self.blocks[at].chunks.len() {
            let Chunk { pages, first_round, .. } = self.blocks[at].chunks[chunk].clone();
            if first_round {
                self.not_cancelled()?;
                self.reprotect(at, chunk, &pages)?;
                self.blocks[at].chunks[chunk].fetched = None;
                for (_, owed) in self.blocks[at].owed.iter_mut().filter(|(client, _)| !begins_full(**client)) {
                    owed.take_away(&pages);
                }
            }
        }
        Ok(())
    }

    // The operations.

    pub fn start(&mut self, client: Client) -> Outcome<()> {
        self.exists(client)?;
        if client == Client::Vga {
            return Err(Refusal::Argument);
        }
        if !self.tracking.insert(client) {
            return Ok(());
        }
        if let Err(refusal) = self.adjust_logging() {
            self.tracking.remove(&client);
            let _ = self.adjust_logging();
            return Err(refusal);
        }
        if begins_full(client) {
            self.blocks.iter_mut().for_each(|block| block.give_all(client));
        }
        self.blocks.iter_mut().for_each(|block| _ = block.tracked_by.insert(client));
        let mut chunks = self.blocks.iter().chain(&self.removed).flat_map(|block| &block.chunks);
        let unbroken = chunks.all(|chunk| chunk.spans(client).is_empty());
        self.ask(client, unbroken);
        Ok(())
    }

    fn ask(&mut self, client: Client, unbroken: bool) {
        let (at, pauses) = (self.history.now, self.history.pauses);
        let counter = unbroken.then(|| self.history.counter(at));
        self.asked.insert(client, Asked { at, pauses, counter, stopped: None });
    }

    pub fn stop(&mut self, client: Client) -> Outcome<()> {
        self.exists(client)?;
        if client == Client::Vga {
            return Err(Refusal::Argument);
        }
        if !self.tracking.contains(&client) {
            return Ok(());
        }
        for at in 0..self.blocks.len() {
            if self.blocks[at].logging && follows_log(client) {
                self.last_sync(at, client)?;
            }
        }
        self.tracking.remove(&client);
        self.note_stop(client);
        self.adjust_logging()
    }

    fn note_stop(&mut self, client: Client) {
        let counter = self.history.counter(self.history.now);
        if let Some(asked) = self.asked.get_mut(&client) {
            asked.stopped = Some(counter);
        }
    }

    /// A sync before a client goes; only a fetch where the log goes with it.
    fn last_sync(&mut self, at: usize, client: Client) -> Outcome<()> {
        if self.is_needed(at, Some(client)) { self.sync_block(at).map(drop) } else { self.fetch_and_give(at).map(drop) }
    }

    pub fn set_log_mask(&mut self, name: &str, on: bool) -> Outcome<()> {
        let at = self.position(name)?;
        if self.blocks[at].vga == on {
            return Ok(());
        }
        if !on {
            self.last_sync(at, Client::Vga)?;
        }
        self.blocks[at].vga = on;
        if !self.blocks.iter().any(|block| block.vga) {
            self.note_stop(Client::Vga);
        }
        let outcome = self.adjust_logging();
        if on && outcome.is_err() {
            self.blocks[at].vga = false;
            let _ = self.adjust_logging();
        } else if on {
            self.blocks[at].give_all(Client::Vga);
            self.blocks[at].tracked_by.insert(Client::Vga);
            self.ask(Client::Vga, false);
        }
        outcome
    }

    pub fn abandon(&mut self, client: Client) -> Outcome<()> {
        self.tracking.remove(&client);
        self.accumulators.remove(&client);
        self.asked.remove(&client);
        for block in self.blocks.iter_mut().chain(&mut self.removed) {
            block.forget(client);
            block.vga &= client != Client::Vga;
        }
        self.removed.retain(Block::has_bits);
        self.adjust_logging()
    }

    pub fn guest_write(&mut self, at: usize, pages: &Pages) {
        self.history.guest_writes();
        for client in self.trackers(at).into_iter().filter(|&client| follows_log(client)) {
            self.blocks[at].owe(client, pages);
        }
        let block = &mut self.blocks[at];
        let seen = pages.common(&block.protected);
        block.protected.take_away(&seen);
        block.logged.add(&seen);
    }

    pub fn host_bitmap(&mut self, at: usize, pages: &Pages) {
        for client in self.trackers(at) {
            self.blocks[at].give(client, pages);
            self.blocks[at].owe(client, pages);
        }
    }

    pub fn host_write(&mut self, guest_address: u64, bytes: u64) {
        for at in 0..self.blocks.len() {
            let info = &self.blocks[at].info;
            let page_begin = |page: u64| info.guest_address + page * self.page_size;
            let mut pages = Pages::none(info.pages);
            for page in 0..info.pages {
                if page_begin(page) < guest_address + bytes && guest_address < page_begin(page + 1) && bytes > 0 {
                    pages.insert(page);
                }
            }
            for client in self.trackers(at) {
                self.blocks[at].give(client, &pages);
                self.blocks[at].owe(client, &pages);
            }
        }
    }

    /// The number of pages that the log named.
    pub fn sync(&mut self) -> Outcome<u64> {
        let mut pages = 0;
        for at in 0..self.blocks.len() {
            if self.blocks[at].logging {
                self.not_cancelled()?;
                pages += self.sync_block(at)?;
            }
        }
        Ok(pages)
    }

    /// Ends what is in a first round, and syncs what is not.
    pub fn discard_initial_log(&mut self) -> Outcome<u64> {
        let mut pages = 0;
        for at in 0..self.blocks.len() {
            if self.blocks[at].logging {
                self.not_cancelled()?;
                let fresh = self.blocks[at].chunks.iter().all(|chunk| chunk.first_round);
                self.end_first_round(at)?;
                if !fresh {
                    pages += self.sync_block(at)?;
                }
            }
        }
        Ok(pages)
    }

    pub fn clear(&mut self, client: Client) -> Outcome<()> {
        self.exists(client)?;
        self.end_first_rounds(client)?;
        for block in self.blocks.iter_mut().chain(&mut self.removed) {
            block.take(client);
        }
        self.removed.retain(Block::has_bits);
        self.ask(client, true);
        Ok(())
    }

    /// Ends the first rounds in which a client that begins full tracks.
    fn end_first_rounds(&mut self, client: Client) -> Outcome<()> {
        for at in (0..self.blocks.len()).filter(|_| begins_full(client)) {
            if self.tracks(client, at) {
                self.end_first_round(at)?;
            }
        }
        Ok(())
    }

    /// Takes the bits of one block. The client asks for no window by it.
    pub fn take_bitmap(&mut self, client: Client, at: usize) -> Outcome<Taken> {
        self.exists(client)?;
        self.end_first_rounds(client)?;
        let block = &mut self.blocks[at];
        let spans = block.chunks.iter().map(|chunk| chunk.spans(client).to_vec()).collect();
        let taken = Taken { client, block: block.info.id, pages: block.bits(client), spans };
        block.take(client);
        Ok(taken)
    }

    /// Gives back what was taken, unless the block or the client is gone.
    pub fn put_back(&mut self, taken: &Taken) {
        let Taken { client, pages, .. } = taken;
        let here = |block: &&mut Block| block.info.id == taken.block && block.tracked_by.contains(client);
        if let Some(block) = self.blocks.iter_mut().find(here) {
            block.give(*client, pages);
            block.owe(*client, pages);
            for (chunk, spans) in block.chunks.iter_mut().zip(&taken.spans) {
                chunk.put_back(*client, spans);
            }
        }
    }

    /// The steps 4 and 5 at a deadline that has come.
    pub fn take_at(&mut self, client: Client) -> Outcome<()> {
        self.exists(client)?;
        if !self.is_tracking(client) {
            return Err(Refusal::State);
        }
        let paused = self.asked.get(&client).is_some_and(|asked| asked.pauses != self.history.pauses);
        if paused || self.history.standing_since.is_some() {
            return Err(Refusal::Paused);
        }
        self.not_cancelled()?;
        self.sync()?;
        self.clear(client)
    }

    /// What the witness must say of a client's window: its counter where the window opened, earliest and latest, and
    /// where it closed; when the client asked for it; and until when the host's writes count.
    pub fn witnessed(&self, client: Client) -> Option<[u64; 6]> {
        let asked = self.asked.get(&client)?;
        let mut ends = Vec::new();
        let here = |at: &usize| self.blocks[*at].tracked_by.contains(&client) && self.blocks[*at].added <= asked.at;
        for at in (0..self.blocks.len()).filter(here) {
            for chunk in &self.blocks[at].chunks {
                let span = match chunk.spans(client) {
                    [span] => *span,
                    [] if follows_log(client) && self.tracks(client, at) => (chunk.opened, chunk.opened),
                    _ => return None,
                };
                ends.push((self.history.counter(span.0), self.history.counter(span.1)));
            }
        }
        let opened = ends.iter().map(|(opened, _)| *opened);
        let closed = ends.iter().map(|(_, closed)| *closed);
        Some([
            opened.clone().min()?,
            opened.max()?,
            closed.clone().min()?,
            closed.max()?,
            asked.counter?,
            asked.stopped.unwrap_or_else(|| self.history.counter(self.history.now)),
        ])
    }

    pub fn add_block(&mut self, info: BlockInfo) -> Outcome<()> {
        if self.blocks.iter().any(|block| block.info.name == info.name) {
            return Err(Refusal::Layout);
        }
        let at = self.blocks.iter().filter(|block| block.info.guest_address < info.guest_address).count();
        self.blocks.insert(at, Block::new(info, self.chunk_pages, self.history.now));
        // Only the new block's log: one that an earlier failure left on elsewhere is not this block's affair.
        let on = match self.is_needed(at, None) {
            true => self.set_logging(at, true),
            false => Ok(()),
        };
        self.blocks[at].tracked_by = self.trackers(at).into_iter().collect();
        let outcome = on.and_then(|()| self.end_first_round(at));
        if outcome.is_err() {
            // Nobody would turn its log off any more.
            if self.blocks[at].logging {
                let _ = self.set_logging(at, false);
            }
            self.blocks.remove(at);
        } else if self.tracking.contains(&Client::Migration) {
            self.blocks[at].give_all(Client::Migration);
        }
        outcome
    }

    pub fn remove_block(&mut self, name: &str, delete_fails: bool) -> Outcome<()> {
        let at = self.position(name)?;
        if self.blocks[at].logging {
            self.fetch_and_give(at)?;
        }
        if delete_fails {
            return Err(Refusal::Delete);
        }
        let mut block = self.blocks.remove(at);
        // Only for its bits does a block live on: a client that has none there has no window there either.
        let with_bits: Vec<_> =
            block.bits.iter().filter(|(_, bits)| !bits.is_empty()).map(|(client, _)| *client).collect();
        block.chunks.iter_mut().for_each(|chunk| chunk.told.retain(|client, _| with_bits.contains(client)));
        self.removed.extend(Some(block).filter(Block::has_bits));
        Ok(())
    }

    fn position(&self, name: &str) -> Outcome<usize> {
        self.blocks.iter().position(|block| block.info.name == name).ok_or(Refusal::Argument)
    }

    /// Finds a broken rule of the model itself. The rules are: each page of a log is either protected or logged; a
    /// first round is all ones; and after a sync, or when it no longer tracks, a client lacks no page.
    pub fn broken_promise(&self, clients: &[Client], sync_succeeded: bool) -> Option<(BlockId, Client)> {
        let unpaid = |block: &Block, told: &dyn Fn(Client) -> bool| {
            let client = clients.iter().find(|&&client| told(client) && !block.is_paid(client));
            client.map(|&client| (block.info.id, client))
        };
        for (at, block) in self.blocks.iter().enumerate() {
            assert!(block.logging || !self.is_needed(at, None), "a block that is needed is not logged");
            if block.logging {
                let mut both = block.logged.clone();
                both.add(&block.protected);
                assert!(both.len() == block.info.pages && block.logged.common(&block.protected).is_empty());
                assert!(block.chunks.iter().all(|chunk| !chunk.first_round || chunk.pages.is_within(&block.logged)));
            }
            let unpaid = unpaid(block, &|client| sync_succeeded || !self.tracks(client, at));
            if unpaid.is_some() {
                return unpaid;
            }
        }
        self.removed.iter().find_map(|block| unpaid(block, &|_| true))
    }

    /// Whether `client`, if it takes its bits, ends a first round by it.
    pub fn ends_first_round(&self, client: Client) -> bool {
        let open = |at| self.tracks(client, at) && self.blocks[at].in_first_round();
        begins_full(client) && (0..self.blocks.len()).any(open)
    }
}
