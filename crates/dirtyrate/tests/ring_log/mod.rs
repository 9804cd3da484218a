//! A log in which each vCPU says what it wrote, without a kernel.

use std::time::{Duration, Instant};

use dirtyrate::dirty_memory::{DirtyLog, FakeLog, Prepared, RingLoss, VcpuLog, VcpuPages};
use dirtyrate::{BlockId, Result};

/// A log of rings over a [`FakeLog`]. Each sync says again what each vCPU has written.
pub struct RingLog {
    pub log: FakeLog,
    /// What each vCPU wrote.
    pub written: Vec<VcpuPages>,
}

impl DirtyLog for RingLog {
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        self.log.set_logging(block, on)
    }

    fn initially_set(&self) -> bool {
        self.log.initially_set()
    }

    fn fetch_reprotects(&self) -> bool {
        self.log.fetch_reprotects()
    }

    fn vcpu_log(&mut self) -> Option<&mut dyn VcpuLog> {
        Some(self)
    }

    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
        self.log.fetch(block, into)
    }

    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()> {
        self.log.reprotect(block, first_page, pages, bits)
    }
}

impl VcpuLog for RingLog {
    fn prepare(&mut self) -> Result<Prepared> {
        let now = Instant::now();
        Ok(Prepared::new(now, now, Duration::ZERO))
    }

    fn vcpus(&self) -> usize {
        self.written.len()
    }

    fn visit(&self, _: BlockId, visit: &mut dyn FnMut(usize, &VcpuPages) -> Result<()>) -> Result<()> {
        self.written.iter().enumerate().try_for_each(|(vcpu, written)| visit(vcpu, written))
    }

    fn forget_pages(&mut self, _: BlockId) {}

    fn take_loss(&mut self) -> RingLoss {
        RingLoss::default()
    }
}
