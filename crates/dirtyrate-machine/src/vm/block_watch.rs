//! Records which blocks are added and removed, and when, for page sampling, which reads a VM's memory without a dirty
//! log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use vm_memory::GuestMemoryMmap;

use dirtyrate::{BlockId, BlockInfo};

/// The adding or the removal of a block, which happened while the VM's vCPUs were held.
#[derive(Debug, Clone)]
pub enum BlockChange {
    /// The block was added. At `at` it was all zeros and had not been written.
    Added {
        /// The block.
        block: BlockInfo,
        /// A guest memory that contains the block, and keeps it mapped.
        memory: Arc<GuestMemoryMmap>,
        /// When, on CLOCK_MONOTONIC.
        at: Instant,
    },
    /// The block was removed. Nothing writes to it from `at` on.
    Removed {
        /// The block's identity.
        id: BlockId,
        /// When, on CLOCK_MONOTONIC.
        at: Instant,
    },
}

/// Keeps the changes of one VM's blocks since [`Vm::watch_blocks`](super::Vm::watch_blocks). Added blocks stay mapped
/// until this is dropped.
#[derive(Debug, Default)]
pub struct BlockWatch(Mutex<Vec<BlockChange>>);

impl BlockWatch {
    /// The changes since the last call, in their order.
    pub fn take(&self) -> Vec<BlockChange> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn tell(&self, change: BlockChange) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(change);
    }
}
