//! The log under dirty memory: a `FakeLog`, any of whose calls can fail, or be followed by a cancellation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dirtyrate::dirty_memory::{DirtyLog, FakeCall, FakeLog, SharedBits};
use dirtyrate::{BlockId, CancelToken, Error, GuestClock, Result};

use super::block::Calls;
use super::rig::TICK;

/// What goes wrong in the current operation, and the sizes of the blocks that existed before it.
#[derive(Default)]
pub struct Faults {
    pub calls: Calls,
    pub token: CancelToken,
    pub pages: BTreeMap<BlockId, u64>,
    /// The bits, which must not be locked while the log is called.
    pub bits: Option<SharedBits>,
}

#[derive(Default, Clone)]
pub struct SharedFaults(Arc<Mutex<Faults>>);

impl SharedFaults {
    pub fn lock(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct FaultyLog {
    pub log: FakeLog,
    pub faults: SharedFaults,
    pub chunk_pages: u64,
    pub clock: GuestClock,
}

impl FaultyLog {
    fn call(&mut self, call: FakeCall, run: impl FnOnce(&mut FakeLog) -> Result<()>) -> Result<()> {
        let mut faults = self.faults.lock();
        let free = faults.bits.as_ref().is_none_or(|bits| bits.try_lock().is_some());
        assert!(free, "whoever reads the bits waits for the kernel");
        let fails = faults.calls.fails(call);
        if faults.calls.cancelled() {
            faults.token.cancel();
        }
        drop(faults);
        self.clock.advance(TICK);
        let outcome = if fails { Err(Error::Unsupported("injected".to_owned())) } else { run(&mut self.log) };
        self.clock.advance(TICK);
        outcome
    }
}

impl DirtyLog for FaultyLog {
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        self.call(FakeCall::SetLogging, |log| log.set_logging(block, on))
    }

    fn initially_set(&self) -> bool {
        self.log.initially_set()
    }

    fn fetch_reprotects(&self) -> bool {
        self.log.fetch_reprotects()
    }

    /// What a fetch that failed leaves behind must not matter, nor what is past the block's last page.
    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
        into.fill(0x5555_5555_5555_5555);
        self.call(FakeCall::Fetch, |log| log.fetch(block, into))?;
        if let (Some(last), Some(pages)) = (into.last_mut(), self.faults.lock().pages.get(&block)) {
            (pages % 64..64).filter(|_| pages % 64 > 0).for_each(|bit| *last |= 1 << bit);
        }
        Ok(())
    }

    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()> {
        assert!(!self.log.fetch_reprotects(), "nothing is left to do");
        assert_eq!(first_page / self.chunk_pages, (first_page + pages - 1) / self.chunk_pages, "chunks bound a call");
        self.call(FakeCall::Reprotect, |log| log.reprotect(block, first_page, pages, bits))
    }
}
