//! One RAM block as dirty memory sees it: its log's state chunk by chunk, and each client's bits.

use std::collections::BTreeMap;

use super::by_vcpu::ByVcpu;
use super::client::Client;
use super::log::VcpuPages;
use super::window::{Edge, Window};
use crate::bitmap::{Kernels, PageBitmap, PageRange, Target, words_for};
use crate::block::BlockInfo;
use crate::error::{Error, Result};

/// For how many clients one pass over a chunk merges the bits.
const FAN_OUT: usize = 4;

/// How many words of a bitmap are emptied under the lock, for which readers of the bits wait. These words stand for 64
/// GiB of guest memory, and emptying them takes about 100 µs.
const WORDS_EMPTIED_AT_ONCE: usize = 1 << 18;

/// A part of a block that one call protects again, so that the call holds the kernel's lock for a bounded time. Each
/// chunk has its own window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    /// The log is still in its first round, which is all ones: no page of the chunk is protected.
    pub initial: bool,
    /// Since when the log sees writes: the end of the last CLEAR, or of the GET that found the chunk clean.
    pub opened: Edge,
    /// The last fetch since logging was turned on.
    pub fetched: Option<Edge>,
}

impl Chunk {
    /// Lets the window of a client go on where the current round began. If the client got every fetch until now, the
    /// window simply stays open, because the next fetch brings what was written since.
    fn let_go_on(&self, window: &mut Window) {
        // One event fetches a chunk at most once.
        let was_given_all =
            self.fetched.is_some_and(|fetched| window.closed().is_some_and(|at| at.event() == fetched.event()));
        if !was_given_all {
            window.go_on(self.opened);
        }
    }
}

/// One client's bits of one block.
#[derive(Debug)]
pub(super) struct ClientBits {
    bitmap: PageBitmap,
    /// Set bits, for each chunk.
    dirty: Vec<u64>,
    /// The window of these bits, for each chunk.
    pub windows: Vec<Window>,
    /// What each vCPU wrote, if the log knows and the client measures.
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

    /// Makes room for a client's bits of this block, unless there is room already. `vcpus` is the number of vCPUs for
    /// which the log says what each wrote. Returns whether the client had no room.
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

    /// Notes that the client, which has bits of this block, tracks it from now on. Its windows go on.
    pub fn begin_tracking(&mut self, client: Client) {
        if let Some(bits) = self.bits.get_mut(&client) {
            bits.windows.iter_mut().zip(&self.chunks).for_each(|(window, chunk)| chunk.let_go_on(window));
        }
    }

    /// Puts back the `taken` window of a chunk whose bits are put back.
    pub fn put_window_back(&mut self, client: Client, chunk: usize, taken: &Window) {
        let Some(bits) = self.bits.get_mut(&client) else { return };
        bits.windows[chunk].put_back(taken);
        // If the taken window has the last fetch of both, it has to go on now.
        self.chunks[chunk].let_go_on(&mut bits.windows[chunk]);
    }

    /// How many pages a chunk has: the last one may have fewer.
    pub fn pages_of(&self, chunk: usize) -> u64 {
        self.chunk_pages.min(self.info.pages - chunk as u64 * self.chunk_pages)
    }

    /// ORs words of a chunk, beginning at its word `first`, into the bits of every client for which `tracks` is true;
    /// its second argument is whether the block has VGA's mask. Returns how many bits are set in the words.
    pub fn merge(&mut self, chunk: usize, first: usize, words: &[u64], tracks: impl Fn(Client, bool) -> bool) -> u64 {
        let at = chunk * words_for(self.chunk_pages) + first;
        let vga = self.vga;
        let mut of_tracking = self.bits.iter_mut().filter(|(client, _)| tracks(**client, vga)).map(|(_, bits)| bits);
        loop {
            let mut targets: [Target<'_>; FAN_OUT] = Default::default();
            let mut dirty: [Option<&mut u64>; FAN_OUT] = Default::default();
            let mut filled = 0;
            for bits in of_tracking.by_ref().take(FAN_OUT) {
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

    /// An empty bitmap for [`clear`](Self::clear), if so much is dirty that emptying the client's own bitmap would take
    /// long. `None` otherwise, and also if there is no memory for it.
    pub fn bitmap_for_clear(&self, client: Client) -> Option<PageBitmap> {
        let dirty = self.bits.get(&client)?.dirty().iter().filter(|dirty| **dirty > 0).count();
        let long = dirty * words_for(self.chunk_pages) > WORDS_EMPTIED_AT_ONCE;
        long.then(|| PageBitmap::try_new(self.info.pages).ok())?
    }

    /// Empties the client's bits, or puts the `clean` bitmap in their place. The client's window opens where the
    /// current round of each chunk began. Returns the bitmap that was replaced, so that the caller can free it without
    /// the lock.
    pub fn clear(&mut self, client: Client, clean: Option<PageBitmap>) -> Option<PageBitmap> {
        let bits = self.bits.get_mut(&client)?;
        bits.vcpus.clear();
        bits.empty(&self.chunks, self.chunk_pages, clean)
    }

    /// Does the same as [`clear`](Self::clear), and returns the bits and what each vCPU wrote.
    pub fn take(&mut self, client: Client, clean: PageBitmap) -> Option<(PageBitmap, ByVcpu)> {
        let bits = self.bits.get_mut(&client)?;
        let vcpus = bits.vcpus.take();
        bits.empty(&self.chunks, self.chunk_pages, Some(clean)).map(|taken| (taken, vcpus))
    }

    pub fn has_initial_chunk(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.initial)
    }

    /// Notes that logging was turned on at `now`, and whether the log begins with all ones.
    pub fn begin_logging(&mut self, initially_set: bool, now: Edge) {
        self.logging = true;
        self.chunks.fill(Chunk { initial: initially_set, opened: now, fetched: None });
    }

    /// Notes that the pages of a chunk were protected at `now`.
    pub fn begin_round(&mut self, chunk: usize, now: Edge) {
        self.chunks[chunk].initial = false;
        self.chunks[chunk].opened = now;
    }

    /// Notes that the first round of a chunk was dropped at `now`. No client gets what was written in that round, so
    /// the windows of all clients for which `tracks` is true begin again at `now`.
    pub fn drop_first_round(&mut self, chunk: usize, now: Edge, tracks: impl Fn(Client, bool) -> bool) {
        self.begin_round(chunk, now);
        self.chunks[chunk].fetched = None;
        for (_, bits) in self.bits.iter_mut().filter(|(client, _)| tracks(**client, self.vga)) {
            bits.windows[chunk].go_on(now);
        }
    }

    /// Notes that a fetch of a chunk began at `now`. The clients for which `tracks` is true get what it found, so their
    /// windows close there.
    pub fn note_fetch(&mut self, chunk: usize, now: Edge, tracks: impl Fn(Client, bool) -> bool) {
        self.chunks[chunk].fetched = Some(now);
        for (_, bits) in self.bits.iter_mut().filter(|(client, _)| tracks(**client, self.vga)) {
            bits.windows[chunk].close(now);
        }
    }

    /// Notes that logging was turned off.
    pub fn end_logging(&mut self) {
        self.logging = false;
        self.chunks.iter_mut().for_each(|chunk| chunk.initial = false);
    }
}

/// Collects items into a vector whose memory is asked for first, so that a lack of memory is an error.
pub(super) fn try_collect<T>(items: impl ExactSizeIterator<Item = T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    let bytes = items.len().saturating_mul(size_of::<T>());
    all.try_reserve_exact(items.len()).map_err(|_| Error::OutOfMemory { what: "the chunks of a block", bytes })?;
    all.extend(items);
    Ok(all)
}
