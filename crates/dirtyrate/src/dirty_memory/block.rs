//! One RAM block as dirty memory sees it: its log's state chunk by chunk, and each client's bits.

use std::collections::BTreeMap;

use super::by_vcpu::ByVcpu;
use super::client::Client;
use super::ledger::{Edge, Window};
use super::log::VcpuPages;
use crate::bitmap::{Kernels, PageBitmap, PageRange, Target, words_for};
use crate::block::BlockInfo;
use crate::error::{Error, Result};

/// Into how many clients a chunk is merged in one pass over it.
const FAN_OUT: usize = 4;

/// How much of a bitmap is emptied while whoever reads the bits waits: that of 64 GiB of guest, which takes some 100 µs.
const WORDS_EMPTIED_AT_ONCE: usize = 1 << 18;

/// A part of a block that is re-protected in one call, so that the kernel's lock is held for a bounded time. Each has a
/// window of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// The log's first round, all ones, is still ahead: no page of the chunk is protected.
    pub initial: bool,
    /// Where writes began to be seen: the end of the last CLEAR, or of the GET that found the chunk clean.
    pub opened: Edge,
    /// The last fetch since logging went on.
    pub fetched: Option<Edge>,
}

/// One client's bits of one block.
#[derive(Debug)]
pub(super) struct ClientBits {
    bitmap: PageBitmap,
    /// Set bits, for each chunk.
    dirty: Vec<u64>,
    /// The window of these bits, for each chunk.
    pub windows: Vec<Window>,
    /// What each vCPU wrote, where the log tells and the client measures.
    pub vcpus: ByVcpu,
}

impl ClientBits {
    fn new(block: &BlockInfo, chunks: &[Chunk], vcpus: usize) -> Result<Self> {
        Ok(Self {
            bitmap: PageBitmap::try_new(block.pages)?,
            dirty: try_collect(chunks.iter().map(|_| 0))?,
            windows: try_collect(chunks.iter().map(|chunk| Window::open(chunk.opened)))?,
            vcpus: ByVcpu::new(try_collect((0..vcpus).map(|_| VcpuPages::default()))?),
        })
    }

    pub fn bitmap(&self) -> &PageBitmap {
        &self.bitmap
    }

    /// Set bits, for each chunk.
    pub fn dirty(&self) -> &[u64] {
        &self.dirty
    }

    pub fn count(&self) -> u64 {
        self.dirty.iter().sum()
    }

    pub fn into_taken(self) -> (PageBitmap, ByVcpu) {
        (self.bitmap, self.vcpus)
    }

    fn empty(&mut self, chunks: &[Chunk], chunk_pages: u64, clean: Option<PageBitmap>) -> Option<PageBitmap> {
        for (window, chunk) in self.windows.iter_mut().zip(chunks) {
            *window = Window::open(chunk.opened);
        }
        if let Some(clean) = clean {
            self.dirty.fill(0);
            return Some(std::mem::replace(&mut self.bitmap, clean));
        }
        let words_per_chunk = words_for(chunk_pages);
        for (chunk, dirty) in self.dirty.iter_mut().enumerate().filter(|(_, dirty)| **dirty > 0) {
            self.bitmap.clear_words(chunk * words_per_chunk, words_per_chunk);
            *dirty = 0;
        }
        None
    }
}

#[derive(Debug)]
pub(super) struct Block {
    pub info: BlockInfo,
    /// Whether the kernel's log is on.
    pub logging: bool,
    /// The VGA client's log mask.
    pub vga: bool,
    pub chunks: Vec<Chunk>,
    pub chunk_pages: u64,
    pub bits: BTreeMap<Client, ClientBits>,
    /// The number of the event in which the block came.
    pub added: u64,
}

impl Block {
    /// A block whose log is off.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn try_new(info: BlockInfo, chunk_pages: u64, now: Edge) -> Result<Self> {
        let chunk = Chunk { initial: false, opened: now, fetched: None };
        let chunks = try_collect((0..info.pages.div_ceil(chunk_pages) as usize).map(|_| chunk))?;
        let added = now.event();
        Ok(Self { info, logging: false, vga: false, chunks, chunk_pages, bits: BTreeMap::new(), added })
    }

    /// Makes room for a client's bits of this block, unless it has some. `vcpus` is how many the log tells of. Whether the
    /// client had none.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`].
    pub fn make_bits(&mut self, client: Client, vcpus: usize) -> Result<bool> {
        let new = !self.bits.contains_key(&client);
        if new {
            let vcpus = if client.measures() { vcpus } else { 0 };
            self.bits.insert(client, ClientBits::new(&self.info, &self.chunks, vcpus)?);
        }
        Ok(new)
    }

    /// The client, which has bits of this block, tracks it from now on. Its windows go
    /// on where the chunks' current rounds began, unless the client was given all that was fetched until now: then the next
    /// fetch brings what was written since.
    pub fn begin_tracking(&mut self, client: Client) {
        if let Some(bits) = self.bits.get_mut(&client) {
            for (window, chunk) in bits.windows.iter_mut().zip(&self.chunks) {
                // An event fetches a chunk once.
                let was_given_all = chunk
                    .fetched
                    .is_some_and(|fetched| window.closed().is_some_and(|at| at.event() == fetched.event()));
                if !was_given_all {
                    window.go_on(chunk.opened);
                }
            }
        }
    }

    /// How many pages a chunk has: the last one may have fewer.
    pub fn pages_of(&self, chunk: usize) -> u64 {
        self.chunk_pages.min(self.info.pages - chunk as u64 * self.chunk_pages)
    }

    /// ORs the words of a chunk, from word `first` of it, into the bits of every client that is `told`, given whether the block has
    /// VGA's mask; how many bits are set in them.
    pub fn merge(&mut self, chunk: usize, first: usize, words: &[u64], told: impl Fn(Client, bool) -> bool) -> u64 {
        let at = chunk * words_for(self.chunk_pages) + first;
        let vga = self.vga;
        let mut of_told = self.bits.iter_mut().filter(|(client, _)| told(**client, vga)).map(|(_, bits)| bits);
        loop {
            let mut targets: [Target<'_>; FAN_OUT] = Default::default();
            let mut dirty: [Option<&mut u64>; FAN_OUT] = Default::default();
            let mut filled = 0;
            for bits in of_told.by_ref().take(FAN_OUT) {
                targets[filled] = Target::new(bits.bitmap.words_mut(at..at + words.len()));
                dirty[filled] = Some(&mut bits.dirty[chunk]);
                filled += 1;
            }
            let set = Kernels::get().merge(words, &mut targets[..filled]);
            for (dirty, target) in dirty.into_iter().flatten().zip(&targets) {
                *dirty += target.newly();
            }
            if filled < FAN_OUT {
                return set;
            }
        }
    }

    /// Sets a range in a client's bits, if it has any here.
    pub fn set_range(&mut self, client: Client, range: PageRange) {
        let Some(bits) = self.bits.get_mut(&client) else { return };
        let mut first = range.first;
        while first < range.end() {
            let chunk = first / self.chunk_pages;
            let end = range.end().min((chunk + 1) * self.chunk_pages);
            bits.dirty[chunk as usize] += bits.bitmap.set_range(PageRange { first, pages: end - first });
            first = end;
        }
    }

    /// Sets every bit of a client in a chunk, if it has any here.
    pub fn fill_chunk(&mut self, client: Client, chunk: usize) {
        let first = chunk as u64 * self.chunk_pages;
        self.set_range(client, PageRange { first, pages: self.pages_of(chunk) });
    }

    /// A bitmap to [`clear`](Self::clear) the client's bits with, where so much is dirty that emptying its own takes long;
    /// `None` also where there is no memory for it.
    pub fn bitmap_for_clear(&self, client: Client) -> Option<PageBitmap> {
        let dirty = self.bits.get(&client)?.dirty().iter().filter(|dirty| **dirty > 0).count();
        let long = dirty * words_for(self.chunk_pages) > WORDS_EMPTIED_AT_ONCE;
        long.then(|| PageBitmap::try_new(self.info.pages).ok())?
    }

    /// Empties the client's bits, or puts the `clean` bitmap in their place; its window opens where the chunks' current rounds
    /// began. What is returned is no longer used.
    pub fn clear(&mut self, client: Client, clean: Option<PageBitmap>) -> Option<PageBitmap> {
        let bits = self.bits.get_mut(&client)?;
        bits.vcpus.clear();
        bits.empty(&self.chunks, self.chunk_pages, clean)
    }

    /// As [`clear`](Self::clear), but gives away the bits, and what each vCPU wrote.
    pub fn take(&mut self, client: Client, clean: PageBitmap) -> Option<(PageBitmap, ByVcpu)> {
        let bits = self.bits.get_mut(&client)?;
        let vcpus = bits.vcpus.take();
        bits.empty(&self.chunks, self.chunk_pages, Some(clean)).map(|taken| (taken, vcpus))
    }

    pub fn has_initial_chunk(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.initial)
    }

    /// Notes that logging went on at `now`, in a log that begins with all ones or not.
    pub fn begin_logging(&mut self, initially_set: bool, now: Edge) {
        self.logging = true;
        self.chunks.fill(Chunk { initial: initially_set, opened: now, fetched: None });
    }

    /// Notes that the pages of a chunk were protected at `now`.
    pub fn begin_round(&mut self, chunk: usize, now: Edge) {
        self.chunks[chunk].initial = false;
        self.chunks[chunk].opened = now;
    }

    /// Notes that the first round of a chunk was dropped at `now`. What was written in it goes to nobody, so the windows of
    /// all clients that are `told` of this block go on there.
    pub fn drop_first_round(&mut self, chunk: usize, now: Edge, told: impl Fn(Client, bool) -> bool) {
        self.begin_round(chunk, now);
        self.chunks[chunk].fetched = None;
        for (_, bits) in self.bits.iter_mut().filter(|(client, _)| told(**client, self.vga)) {
            bits.windows[chunk].go_on(now);
        }
    }

    /// Notes that a fetch began at `now`, and that the clients that are `told` of this block are given what it found in a
    /// chunk: their windows close there.
    pub fn note_fetch(&mut self, chunk: usize, now: Edge, told: impl Fn(Client, bool) -> bool) {
        self.chunks[chunk].fetched = Some(now);
        for (_, bits) in self.bits.iter_mut().filter(|(client, _)| told(**client, self.vga)) {
            bits.windows[chunk].close(now);
        }
    }

    /// Notes that logging went off.
    pub fn end_logging(&mut self) {
        self.logging = false;
        self.chunks.iter_mut().for_each(|chunk| chunk.initial = false);
    }
}

/// Collects what is known to be so many, or has no memory for it.
pub(super) fn try_collect<T>(items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    let bytes = items.len().saturating_mul(size_of::<T>());
    all.try_reserve_exact(items.len()).map_err(|_| Error::OutOfMemory { what: "the chunks of a block", bytes })?;
    all.extend(items);
    Ok(all)
}
