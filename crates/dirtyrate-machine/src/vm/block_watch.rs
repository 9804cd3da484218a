//! Which blocks come and go, and when: for those who look at a VM's memory without its dirty log.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use vm_memory::GuestMemoryMmap;

use dirtyrate::{BlockId, BlockInfo};

/// A block that came, or went, while the VM's vCPUs were held.
#[derive(Debug, Clone)]
pub enum BlockChange {
    /// It is there, all zeros, and was never written at `at`.
    Added {
        /// The block.
        block: BlockInfo,
        /// A memory that has it, and keeps it mapped.
        memory: Arc<GuestMemoryMmap>,
        /// When, on CLOCK_MONOTONIC.
        at: Instant,
    },
    /// It is gone: nobody writes it from `at` on.
    Removed {
        /// Which.
        id: BlockId,
        /// When, on CLOCK_MONOTONIC.
        at: Instant,
    },
}

/// Keeps the changes of one VM since [`Vm::watch_blocks`](super::Vm::watch_blocks), for one who asks. What was added stays mapped
/// until it is dropped.
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
