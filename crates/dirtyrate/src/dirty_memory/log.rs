//! What dirty memory needs of a kernel's dirty log.

use crate::error::Result;

/// The identity of a RAM block: unique for the life of a VM, so that a block that comes back under the same name is
/// another block. It is the block's *generation*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u64);

/// The source of dirty bits, one block at a time.
///
/// The contract is that of `KVM_GET_DIRTY_LOG` and `KVM_CLEAR_DIRTY_LOG` (Documentation/virt/kvm/api.rst, 4.8 and
/// 4.117): a fetched page stays logged, and further writes to it go unnoticed, until it is re-protected.
pub trait DirtyLog: Send {
    /// Turns logging of a block on or off. Off loses what was not fetched.
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()>;

    /// Whether a block's log begins with every bit set and no page protected (`KVM_DIRTY_LOG_INITIALLY_SET`).
    fn initially_set(&self) -> bool;

    /// Whether [`fetch`](Self::fetch) re-protects by itself (no manual protect), so that nothing is left to do.
    fn fetch_reprotects(&self) -> bool;

    /// Reads the block's log into `into`, which has one bit for each page of the block. When this fails, no bit may be lost.
    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()>;

    /// Takes the pages that are set in `bits` out of the log and protects them again. `bits` describes `pages` pages from
    /// `first_page`, a multiple of 64; `pages` is a multiple of 64 too unless the range ends at the block's end.
    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()>;
}
