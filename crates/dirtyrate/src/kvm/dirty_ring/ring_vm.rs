//! What the rings need from their VM, as a trait, so that models can have a VM without a kernel.

use crate::block::BlockId;
use crate::error::Result;
use crate::kvm::ioctls::reset_dirty_rings;
use crate::kvm::slots::SlotTable;

/// The VM of the rings.
pub trait RingVm: Send {
    /// The block of a slot that is logged, and how many pages it has.
    fn logged(&self, slot: u32) -> Option<(BlockId, u64)>;
    /// Gives the harvested entries of all rings back to the kernel, which protects their pages again. Returns the
    /// number of these entries. If there are fewer than were harvested, the call may have ended early, and some of
    /// these pages may not be protected.
    fn reset(&self) -> Result<u32>;
    /// Protects every logged page again. No vCPU may run meanwhile.
    fn protect_all(&mut self) -> Result<()>;
}

impl RingVm for SlotTable {
    fn logged(&self, slot: u32) -> Option<(BlockId, u64)> {
        self.logged(slot)
    }

    fn reset(&self) -> Result<u32> {
        reset_dirty_rings(&self.vm())
    }

    fn protect_all(&mut self) -> Result<()> {
        self.restart_logging()
    }
}
