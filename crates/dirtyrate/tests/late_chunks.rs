//! A guest is so large that opening its window takes longer than the window. Each chunk is still measured for the time
//! that was asked for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dirtyrate::dirty_memory::{Client, DirtyLog, DirtyMemory, FakeLog, FakeProtect, sync_at, take_at};
use dirtyrate::{BlockId, BlockInfo, CancelToken, GuestClock, Result};

const PAGE: u64 = 4096;
const CHUNKS: u64 = 10;
/// What one CLEAR takes: all of them take ten times what is asked for.
const CLEAR: Duration = Duration::from_millis(100);

/// Each call that protects pages takes a while, in which the guest writes a page of every chunk.
struct Slow {
    log: FakeLog,
    clock: GuestClock,
}

impl DirtyLog for Slow {
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        self.log.set_logging(block, on)
    }

    fn initially_set(&self) -> bool {
        self.log.initially_set()
    }

    fn fetch_reprotects(&self) -> bool {
        self.log.fetch_reprotects()
    }

    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
        self.log.fetch(block, into)
    }

    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()> {
        self.log.reprotect(block, first_page, pages, bits)?;
        self.clock.advance(CLEAR);
        Ok(())
    }
}

#[test]
fn the_chunk_that_opened_last_is_watched_as_long_as_was_asked_for() {
    let (clock, log) = (GuestClock::by_hand(), FakeLog::new(FakeProtect::ManualInitiallySet));
    let slow = Slow { log: log.clone(), clock: clock.clone() };
    let mut memory = DirtyMemory::with_clock(Box::new(slow), PAGE, 64 * PAGE, clock.clone());
    let ram = BlockInfo { id: BlockId(1), name: "ram".to_owned(), guest_address: 0, pages: CHUNKS * 64 };
    log.add_block(ram.id, ram.pages);
    memory.add_block(ram.clone()).expect("a block");
    memory.start_tracking(Client::DirtyRate).expect("step 1");
    memory.discard_initial_log(&CancelToken::new()).expect("step 2");
    memory.clear(Client::DirtyRate).expect("step 3");
    let memory = Arc::new(Mutex::new(memory));
    let lock = || memory.lock().expect("no panic");
    let cancel = CancelToken::new();

    // The window is open in every chunk now, and the clock stands: 10 ms from here are not over.
    let asked = Duration::from_millis(10);
    let ticking = || {
        clock.advance(Duration::from_millis(1));
        Ok(())
    };
    let reports = sync_at(lock, Client::DirtyRate, &[asked], &cancel, ticking).expect("step 4");
    let reap = &reports[0].reap;
    let shortest = reap.window - reap.skew;
    assert!(shortest >= asked, "the shortest chunk's window is {shortest:?}");
    assert_eq!(reap.skew, CLEAR * (CHUNKS as u32 - 1));

    // One page of the last chunk in a window, and no burst of it.
    log.guest_write(ram.id, CHUNKS * 64 - 1);
    let (report, reopened) = take_at(lock, Client::DirtyRate, 2 * asked, &cancel, ticking).expect("steps 4 and 5");
    assert!(report.reap.bytes_per_second <= PAGE as f64 / asked.as_secs_f64(), "{}", report.reap.bytes_per_second);
    assert!(reopened >= 2 * asked, "{reopened:?}");
}
