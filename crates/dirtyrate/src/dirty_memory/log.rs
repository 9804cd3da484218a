//! What dirty memory needs of a kernel's dirty log.

use std::time::{Duration, Instant};

use crate::bitmap::SparsePages;
use crate::block::BlockId;
use crate::error::Result;

/// The edges between two windows, where a log draws them for all blocks at once.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Prepared {
    /// Where the window ends that is being fetched.
    pub closed: Instant,
    /// Where the next one begins.
    pub opened: Instant,
    /// What it took.
    pub took: Duration,
}

impl Prepared {
    /// A window ended at `closed`, the next one began at `opened`, and both took `took`.
    pub fn new(closed: Instant, opened: Instant, took: Duration) -> Self {
        Self { closed, opened, took }
    }
}

/// What one vCPU wrote of a block, as its ring says.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct VcpuPages {
    /// The distinct pages.
    pub pages: SparsePages,
    /// The entries that named them: each page at least once.
    pub entries: u64,
}

impl VcpuPages {
    /// Makes room for another's, so that adding them cannot fail.
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
        self.entries += other.entries;
    }

    /// Forgets everything, and keeps the room.
    pub fn clear(&mut self) {
        self.pages.clear();
        self.entries = 0;
    }
}

/// Entries of rings that count for no page.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingLoss {
    /// Of memory that is not logged, or not there any more.
    pub dropped: u64,
    /// Known to be lost: the kernel wrote over them.
    pub lost: u64,
    /// Found to be lost of a window before, which said that something may be.
    pub lost_before: u64,
    /// More may be lost: the ring was full to the last entry.
    pub maybe_lost: bool,
}

impl RingLoss {
    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.lost_before += other.lost_before;
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
/// 4.117): a fetched page stays logged, and further writes to it go unnoticed, until it is re-protected.
pub trait DirtyLog: Send {
    /// How many pages the log has of a block, where it knows.
    fn pages(&self, _: BlockId) -> Option<u64> {
        None
    }

    /// Forgets a block that is gone.
    fn forget(&mut self, _: BlockId) {}

    /// Turns logging of a block on or off. Off loses what was not fetched.
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()>;

    /// Whether a block's log begins with every bit set and no page protected (`KVM_DIRTY_LOG_INITIALLY_SET`).
    fn initially_set(&self) -> bool;

    /// Whether [`fetch`](Self::fetch) re-protects by itself (no manual protect), so that nothing is left to do.
    fn fetch_reprotects(&self) -> bool;

    /// The same log as one that the vCPUs keep. `None`, as here, says that the log does not know who wrote a page.
    fn vcpu_log(&mut self) -> Option<&mut dyn VcpuLog> {
        None
    }

    /// Reads the block's log into `into`, which has one bit for each page of the block. When this fails, no bit may be lost.
    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()>;

    /// Takes the pages that are set in `bits` out of the log and protects them again. `bits` describes `pages` pages from
    /// `first_page`, a multiple of 64; `pages` is a multiple of 64 too unless the range ends at the block's end.
    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()>;
}

/// What only a log can do whose vCPUs report their writes themselves, as dirty rings do: it knows who wrote a page, and it ends the
/// window of all blocks at once.
pub trait VcpuLog {
    /// Brings the log up to the present before blocks are fetched. What is fetched next is of the window that ends here.
    ///
    /// # Errors
    ///
    /// The vCPUs could not be stopped, or the kernel refused: nothing is lost then.
    fn prepare(&mut self) -> Result<Prepared>;

    /// How many vCPUs there are, numbered from 0.
    fn vcpus(&self) -> usize;

    /// Shows `visit` what each vCPU wrote of a block, as far as it is prepared; those that wrote nothing are left out.
    ///
    /// # Errors
    ///
    /// The first error of `visit`.
    fn visit(&self, block: BlockId, visit: &mut dyn FnMut(usize, &VcpuPages) -> Result<()>) -> Result<()>;

    /// Forgets what the vCPUs wrote of a block: everybody who wants to know was told.
    fn forget_pages(&mut self, block: BlockId);

    /// Takes what the rings lost since the last call.
    fn take_loss(&mut self) -> RingLoss;
}
