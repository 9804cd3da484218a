//! The model of one RAM block, and which calls to its log fail.

use std::collections::{BTreeMap, BTreeSet};

use dirtyrate::BlockInfo;
use dirtyrate::dirty_memory::{Client, FakeCall};

use super::pages::Pages;
use super::windows::{Chunk, Tick};

#[derive(Debug)]
pub struct Block {
    pub info: BlockInfo,
    pub vga: bool,
    /// Whether the kernel logs the block.
    pub logging: bool,
    pub logged: Pages,
    pub protected: Pages,
    pub chunks: Vec<Chunk>,
    /// The clients that have ever tracked the block.
    pub tracked_by: BTreeSet<Client>,
    /// When the block came.
    pub added: Tick,
    pub bits: BTreeMap<Client, Pages>,
    /// What the client must have according to the promise: the pages that were written while it tracked, without the
    /// pages that it has taken.
    pub owed: BTreeMap<Client, Pages>,
}

impl Block {
    pub fn new(info: BlockInfo, chunk_pages: u64, now: Tick) -> Self {
        let none = Pages::none(info.pages);
        let chunk = |first| Chunk::new(Pages::between(info.pages, first, first + chunk_pages), now);
        Self {
            vga: false,
            logging: false,
            logged: none.clone(),
            protected: none,
            chunks: (0..info.pages).step_by(chunk_pages as usize).map(chunk).collect(),
            bits: BTreeMap::new(),
            owed: BTreeMap::new(),
            tracked_by: BTreeSet::new(),
            added: now,
            info,
        }
    }

    pub fn bits(&self, client: Client) -> Pages {
        self.bits.get(&client).cloned().unwrap_or_else(|| Pages::none(self.info.pages))
    }

    pub fn give(&mut self, client: Client, pages: &Pages) {
        self.bits.entry(client).or_insert_with(|| Pages::none(self.info.pages)).add(pages);
    }

    pub fn owe(&mut self, client: Client, pages: &Pages) {
        self.owed.entry(client).or_insert_with(|| Pages::none(self.info.pages)).add(pages);
    }

    pub fn give_all(&mut self, client: Client) {
        self.give(client, &Pages::all(self.info.pages));
    }

    pub fn take(&mut self, client: Client) {
        if let (Some(bits), Some(owed)) = (self.bits.remove(&client), self.owed.get_mut(&client)) {
            owed.take_away(&bits);
        }
        self.close_window(client);
    }

    /// The client's next window has no span yet.
    fn close_window(&mut self, client: Client) {
        self.chunks.iter_mut().for_each(|chunk| drop(chunk.told.remove(&client)));
    }

    pub fn forget(&mut self, client: Client) {
        self.bits.remove(&client);
        self.owed.remove(&client);
        self.tracked_by.remove(&client);
        self.close_window(client);
    }

    pub fn has_bits(&self) -> bool {
        self.bits.values().any(|bits| !bits.is_empty())
    }

    /// The client has each page that it is owed.
    pub fn is_paid(&self, client: Client) -> bool {
        self.owed.get(&client).is_none_or(|owed| owed.is_within(&self.bits(client)))
    }

    pub fn in_first_round(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.first_round)
    }
}

/// Counts the calls to a log, and says which of them fail. The log of the test and the model each have one.
#[derive(Debug, Default)]
pub struct Calls {
    faults: Vec<(FakeCall, usize)>,
    cancel: Option<usize>,
    made: Vec<FakeCall>,
    pub fired: usize,
}

impl Calls {
    pub fn new(faults: &[(FakeCall, usize)], cancel: Option<usize>) -> Self {
        Self { faults: faults.to_vec(), cancel, ..Self::default() }
    }

    /// Whether this call, which is made now, is to fail.
    pub fn fails(&mut self, call: FakeCall) -> bool {
        let number = self.made.iter().filter(|&&made| made == call).count();
        self.made.push(call);
        let fails = self.faults.contains(&(call, number));
        self.fired += usize::from(fails);
        fails
    }

    /// Whether somebody has cancelled by now.
    pub fn cancelled(&self) -> bool {
        self.cancel.is_some_and(|after| self.made.len() >= after)
    }
}
