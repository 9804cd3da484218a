//! The interface of a kernel's dirty log, as dirty memory needs it.

use std::time::{Duration, Instant};

use crate::bitmap::SparsePages;
use crate::block::BlockId;
use crate::error::Result;

/// The end of one window and the beginning of the next, for a log that ends the windows of all blocks at once.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Prepared {
    /// The end of the window that is being fetched.
    pub closed: Instant,
    /// The beginning of the next window.
    pub opened: Instant,
    /// How long this took.
    pub took: Duration,
}

impl Prepared {
    /// Says that a window ended at `closed`, that the next one began at `opened`, and that the change took `took`.
    pub fn new(closed: Instant, opened: Instant, took: Duration) -> Self {
        Self { closed, opened, took }
    }
}

/// What one vCPU wrote of a block, according to its ring.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VcpuPages {
    /// The distinct pages.
    pub pages: SparsePages,
    /// How many entries named these pages. Each page has at least one entry.
    pub entries: u64,
}

impl VcpuPages {
    /// Makes room for the pages of `other`, so that adding them cannot fail.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn reserve(&mut self, other: &Self) -> Result<()> {
        self.pages.reserve(&other.pages)
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.pages.merge(&other.pages);
        self.entries = self.entries.saturating_add(other.entries);
    }

    /// Forgets everything, and keeps the room.
    pub fn clear(&mut self) {
        self.pages.clear();
        self.entries = 0;
    }
}

/// Entries of rings that do not count as pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingLoss {
    /// Entries of memory that is not logged, or that was removed.
    pub dropped: u64,
    /// Entries that are known to be lost, because the kernel wrote over them.
    pub lost: u64,
    /// Lost entries of an earlier window, which already said that entries may be lost.
    pub lost_before: u64,
    /// Whether more entries may be lost, because the ring was full to the last entry.
    pub maybe_lost: bool,
}

impl RingLoss {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.lost = self.lost.saturating_add(other.lost);
        self.lost_before = self.lost_before.saturating_add(other.lost_before);
        self.maybe_lost |= other.maybe_lost;
    }

    /// Whether pages may be missing.
    pub fn is_incomplete(&self) -> bool {
        self.lost > 0 || self.maybe_lost
    }
}

/// The source of dirty bits, one block at a time.
///
/// The contract is that of `KVM_GET_DIRTY_LOG` and `KVM_CLEAR_DIRTY_LOG` (Documentation/virt/kvm/api.rst, 4.8 and
/// 4.117): a fetched page stays logged until it is protected again, and until then the log does not see further writes
/// to it.
pub trait DirtyLog: Send {
    /// How many pages of a block the log has; `None` if it does not know.
    fn pages(&self, _: BlockId) -> Option<u64> {
        None
    }

    /// Bytes in a page of the log; `None` if it does not know.
    fn page_size(&self) -> Option<u64> {
        None
    }

    /// Forgets a block that was removed.
    fn forget(&mut self, _: BlockId) {}

    /// Turns logging of a block on or off. Turning it off loses what was not fetched.
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()>;

    /// Whether a block's log begins with every bit set and no page protected (`KVM_DIRTY_LOG_INITIALLY_SET`).
    fn initially_set(&self) -> bool;

    /// Whether [`fetch`](Self::fetch) also protects the pages again (no manual protect), so that
    /// [`reprotect`](Self::reprotect) is not needed.
    fn fetch_reprotects(&self) -> bool;

    /// The same log, if each vCPU keeps its part of it. `None`, which is the default, says that the log does not know
    /// which vCPU wrote a page.
    fn vcpu_log(&mut self) -> Option<&mut dyn VcpuLog> {
        None
    }

    /// Reads the block's log into `into`, which has one bit for each page of the block. When this fails, no bit may be
    /// lost.
    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()>;

    /// Takes the pages that are set in `bits` out of the log and protects them again. `bits` describes `pages` pages
    /// from `first_page`, a multiple of 64; `pages` is a multiple of 64 too unless the range ends at the block's end.
    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()>;
}

/// The abilities of a log in which each vCPU reports its own writes, as with dirty rings: the log knows which vCPU
/// wrote a page, and it ends the windows of all blocks at once.
pub trait VcpuLog {
    /// Collects everything that was written until now, before blocks are fetched. The next fetch of each block belongs
    /// to the window that ends here.
    ///
    /// # Errors
    ///
    /// If the vCPUs could not be stopped, or if the kernel refused. Nothing is lost then.
    fn prepare(&mut self) -> Result<Prepared>;

    /// How many vCPUs there are, numbered from 0.
    fn vcpus(&self) -> usize;

    /// Calls `visit` for each vCPU that wrote to a block, with what it wrote until the last [`prepare`](Self::prepare).
    ///
    /// # Errors
    ///
    /// The first error of `visit`.
    fn visit(&self, block: BlockId, visit: &mut dyn FnMut(usize, &VcpuPages) -> Result<()>) -> Result<()>;

    /// Forgets what the vCPUs wrote of a block, after every client that wants to know has got it.
    fn forget_pages(&mut self, block: BlockId);

    /// Returns what the rings lost since the last call.
    fn take_loss(&mut self) -> RingLoss;
}
