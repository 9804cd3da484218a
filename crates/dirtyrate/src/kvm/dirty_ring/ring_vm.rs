//! The VM as its rings see it, so that models can have one without a kernel.

use crate::block::BlockId;
use crate::error::Result;
use crate::kvm::ioctls::reset_dirty_rings;
use crate::kvm::slots::SlotTable;

/// What the rings ask of their VM.
pub trait RingVm: Send {
    /// The block of a slot that is logged, and how many pages it has.
    fn logged(&self, slot: u32) -> Option<(BlockId, u64)>;
    /// Takes back what was harvested of all rings, and protects those pages again; how many entries that were. Where that is less than
    /// it should be, it may have ended early, with pages among them that are not protected.
    fn reset(&self) -> Result<u32>;
    /// Protects every page that is logged again. No vCPU runs.
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
