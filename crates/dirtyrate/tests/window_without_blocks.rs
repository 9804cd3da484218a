//! A deadline comes, whatever becomes of the blocks that were there when the window opened.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use dirtyrate::dirty_memory::{Client, DeadlineReport, DirtyMemory, FakeLog, FakeProtect, sync_at, take_at};
use dirtyrate::{BlockId, BlockInfo, CancelToken, Result};

const PAGE: u64 = 4096;
const PAGES: u64 = 64;
const DEADLINE: Duration = Duration::from_millis(40);
/// A wait that never ends looks at the guest for ever. A wait for [`DEADLINE`] looks a few times.
const MOST_LOOKS: u32 = 1000;

struct Vm {
    log: FakeLog,
    memory: Mutex<DirtyMemory>,
}

impl Vm {
    /// A VM with these blocks, whose window is open.
    fn measured(blocks: &[u64]) -> Self {
        let log = FakeLog::new(FakeProtect::ManualInitiallySet);
        let memory = DirtyMemory::new(Box::new(log.clone()), PAGE, 1 << 30);
        let vm = Self { log, memory: Mutex::new(memory) };
        blocks.iter().for_each(|number| vm.add(*number));
        let mut memory = vm.lock();
        memory.start_tracking(Client::DirtyRate).expect("step 1");
        memory.discard_initial_log(&CancelToken::new()).expect("step 2");
        memory.clear(Client::DirtyRate).expect("step 3");
        drop(memory);
        vm
    }

    fn lock(&self) -> MutexGuard<'_, DirtyMemory> {
        self.memory.lock().expect("no panic")
    }

    fn add(&self, number: u64) {
        let (id, name) = (BlockId(number), format!("ram{number}"));
        self.log.add_block(id, PAGES);
        let info = BlockInfo { id, name, guest_address: number << 30, pages: PAGES };
        self.lock().add_block(info).expect("a block");
    }

    fn remove(&self, number: u64) {
        let delete = || {
            self.log.remove_block(BlockId(number));
            Ok(())
        };
        self.lock().remove_block(&format!("ram{number}"), delete).expect("removed");
    }

    /// Waits for the deadline, and calls `change` each time the wait looks at the guest, with how often it looked
    /// before. The last look comes after the fetch, while dirty memory is locked, and changes nothing.
    fn sync_at(&self, change: impl Fn(u32)) -> Result<DeadlineReport> {
        let (looks, cancel) = (Cell::new(0), CancelToken::new());
        let alive = || {
            looks.set(looks.get() + 1);
            if looks.get() > MOST_LOOKS {
                cancel.cancel();
            }
            if self.memory.try_lock().is_ok() {
                change(looks.get() - 1);
            }
            Ok(())
        };
        sync_at(|| self.lock(), Client::DirtyRate, &[DEADLINE], &cancel, alive).map(|mut reports| reports.remove(0))
    }
}

#[test]
fn a_deadline_comes_without_any_block() {
    let vm = Vm::measured(&[]);
    let report = vm.sync_at(|_| {}).expect("a report");
    assert_eq!((report.reap.pages, report.reap.window, report.reap.blocks.len()), (0, Duration::ZERO, 0));
    let cancel = CancelToken::new();
    let took = take_at(|| vm.lock(), Client::DirtyRate, DEADLINE, &cancel, || Ok(()));
    let (_, reopened) = took.expect("a report");
    assert!(reopened >= DEADLINE, "the next window opens {reopened:?} after this one");
}

#[test]
fn a_deadline_comes_if_every_block_is_removed_within_the_window() {
    let vm = Vm::measured(&[1, 2]);
    let report = vm.sync_at(|looks| {
        if looks == 0 {
            vm.log.guest_write(BlockId(1), 5);
            vm.remove(1);
            vm.remove(2);
        }
    });
    let reap = report.expect("a report").reap;
    let blocks: Vec<_> = reap.blocks.iter().map(|block| (block.block.id, block.pages, block.removed)).collect();
    assert_eq!(blocks, [(BlockId(1), 1, true)], "the block that was written, up to its removal");
    assert!(reap.bytes_per_second > 0.0, "{reap:?}");
}

#[test]
fn a_deadline_comes_although_new_blocks_come_again_and_again() {
    let vm = Vm::measured(&[1]);
    let last = Cell::new(1);
    let report = vm.sync_at(|_| {
        let next = last.get() + 1;
        vm.add(next);
        vm.remove(last.get());
        vm.log.guest_write(BlockId(next), 7);
        last.set(next);
    });
    let report = report.expect("a report");
    assert!(last.get() < u64::from(MOST_LOOKS), "the deadline was put off");
    let newest = report.reap.blocks.iter().find(|block| block.block.id == BlockId(last.get()));
    assert_eq!(newest.map(|block| (block.pages, block.removed)), Some((1, false)), "a block that came later counts");
}
