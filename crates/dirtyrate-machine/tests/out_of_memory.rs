//! A sync in a process that gets no more memory. The sync of a bitmap needs none, and a sync of rings that gets none
//! loses nothing. The allocator of this test refuses a chosen request of the calling thread.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;

use dirtyrate::Error;
use dirtyrate::dirty_memory::{Client, DirtyMemory, FakeLog, FakeProtect};
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate::{BlockId, BlockInfo, CancelToken};
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;

thread_local! {
    /// Requests of this thread.
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
    /// The number of the one that is refused.
    static REFUSED: Cell<u64> = const { Cell::new(u64::MAX) };
}

struct Refusing;

impl Refusing {
    fn refuses(&self) -> bool {
        REQUESTS.set(REQUESTS.get() + 1);
        REFUSED.get() == REQUESTS.get() - 1
    }
}

// SAFETY: what is not refused is the system allocator's, with the layout as it came; a refusal is a null pointer, which
// the contract allows. The cells are of this thread, need no initialisation and have no destructor.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        if self.refuses() { null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        if self.refuses() { null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promised.
        if self.refuses() { null_mut() } else { unsafe { System.realloc(memory, layout, size) } }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Runs `work` while the request number `refused` for memory fails. Returns the result, and how many requests there
/// were.
fn refusing<T>(refused: u64, work: impl FnOnce() -> T) -> (T, u64) {
    REQUESTS.set(0);
    REFUSED.set(refused);
    let outcome = work();
    REFUSED.set(u64::MAX);
    (outcome, REQUESTS.get())
}

#[test]
fn a_sync_of_a_bitmap_asks_for_no_memory() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        let machine = protected(scattered(), 2, protect);
        let guest = run(&machine, &workload(Kind::Random, 3000, 2, Pacing::Granted));
        begin(&machine, Client::Migration);
        begin(&machine, Client::DirtyRate);
        let cancel = CancelToken::new();
        for round in 0..5 {
            let from = guest.counters();
            make(&machine, &guest, 100);
            let mut dirty_memory = machine.vm().lock_dirty_memory();
            // Its readings are the test's.
            dirty_memory.set_witness(None);
            let (synced, requests) = refusing(u64::MAX, || dirty_memory.sync(&cancel));
            assert!(synced.expect("step 4").pages > 0);
            assert_eq!(requests, 0, "{protect:?}, round {round}");
            let taken = but_read_only(&machine, &take_from(&mut dirty_memory, Client::DirtyRate));
            assert_same(&taken, &guest.truth(&from, &guest.counters()).written, &format!("{protect:?}, round {round}"));
        }
    }
}

#[test]
fn a_sync_of_rings_that_is_refused_memory_loses_nothing() {
    if !rings() {
        return;
    }
    // Each request of the first sync of a machine, in turn, until there is none to refuse.
    let mut refusals = 0;
    let cancel = CancelToken::new();
    for refused in 0.. {
        let machine = with_rings(scattered(), 2, 65_536, Reaping::Hold);
        let guest = run(&machine, &workload(Kind::Random, 3000, 2, Pacing::Granted));
        begin(&machine, Client::Migration);
        begin(&machine, Client::DirtyRate);
        let second = machine.vm().lock_dirty_bits().open_accumulator();
        begin(&machine, second);
        take(&machine, Client::Migration);
        machine.clear(Client::DirtyRate).expect("step 3");
        let from = guest.counters();
        make(&machine, &guest, 1000);
        let mut dirty_memory = machine.vm().lock_dirty_memory();
        dirty_memory.set_witness(None);
        let (synced, requests) = refusing(refused, || dirty_memory.sync(&cancel));
        if requests <= refused {
            synced.expect("nothing was refused");
            break;
        }
        refusals += 1;
        let refusal = synced.expect_err("no sync without memory");
        assert!(matches!(refusal, Error::OutOfMemory { .. }), "{refusal}");
        drop(dirty_memory);
        // The guest goes on meanwhile.
        make(&machine, &guest, 100);
        sync(&machine);
        let truth = guest.truth(&from, &guest.counters()).written;
        for client in [Client::Migration, Client::DirtyRate, second] {
            let reap = machine.reap(client).expect("step 5");
            let context = format!("{client}, without request {refused}");
            assert!(reap.is_complete(), "{context}");
            if let Some(ring) = &reap.ring {
                let entries: u64 = ring.vcpus.iter().map(|vcpu| vcpu.entries).sum();
                assert_eq!(ring.dropped, 0, "{context}");
                if nested_paging() {
                    // The first write to each page since it was protected; the control page's are the host's.
                    assert!(entries >= truth.len() as u64 - 1, "{context}: {entries} entries");
                } else {
                    // Every entry once: a write and its count are two.
                    assert_eq!(entries, 2 * 2 * 1100, "{context}");
                }
            }
            assert_same(&take(&machine, client), &truth, &context);
        }
    }
    assert!(refusals > 10, "{refusals} requests are fewer than these sets need");
}

#[test]
fn a_block_that_finds_no_memory_is_not_added() {
    let log = FakeLog::new(FakeProtect::ManualInitiallySet);
    let mut memory = DirtyMemory::new(Box::new(log.clone()), page_size(), GIB);
    let block = |name: &str, id, guest_address, pages| BlockInfo {
        id: BlockId(id),
        name: name.to_owned(),
        guest_address,
        pages,
    };
    log.add_block(BlockId(1), 1 << 17);
    memory.add_block(block("ram", 1, GIB, 1 << 17)).expect("added");
    memory.start_tracking(Client::DirtyRate).expect("step 1");
    for pages in [1 << 50, 1 << 60, u64::MAX] {
        let refusal = memory.add_block(block("huge", 2, 0, pages)).expect_err("no such memory");
        assert!(matches!(refusal, Error::OutOfMemory { .. }), "{pages}: {refusal}");
        assert_eq!(memory.bits().blocks().count(), 1);
    }
    memory.discard_initial_log(&CancelToken::new()).expect("step 2");
    memory.clear(Client::DirtyRate).expect("step 3");
    log.guest_write(BlockId(1), (1 << 17) - 1);
    memory.sync(&CancelToken::new()).expect("step 4");
    assert_eq!(memory.take(Client::DirtyRate).expect("step 5").pages, 1);
    assert_eq!(log.is_logging(BlockId(1)), memory.bits().logging_blocks().count() == 1);
}

#[test]
fn entries_of_a_block_that_is_gone_are_not_anothers_where_harvests_found_no_memory() {
    if !rings() {
        return;
    }
    // The harvest that would take them out finds no memory when the log goes off, or also when the next one goes on.
    for refuse_twice in [false, true] {
        let blocks = vec![block("low", 0, 8192), block("plug", GIB, 16_384)];
        let machine = with_rings(blocks, 1, 65_536, Reaping::Hold);
        let guest = run(&machine, &workload(Kind::Random, 3000, 1, Pacing::Granted));
        let lock = || machine.vm().lock_dirty_memory();
        {
            let mut dirty_memory = lock();
            // Its readings would ask for memory first, and so would the first flag of a VM.
            dirty_memory.set_witness(None);
            dirty_memory.start_tracking(Client::Code).expect("a flag");
            // Keeps one log on, whose pages take memory.
            dirty_memory.set_log_mask("low", true).expect("its log goes on");
            dirty_memory.start_tracking(Client::DirtyRate).expect("step 1");
        }
        make(&machine, &guest, 500);
        refusing(0, || lock().abandon(Client::DirtyRate)).0.expect("its end");
        machine.vm().remove_block("plug").expect("removed");
        // It gets the number of the slot that was the plug's.
        machine.vm().add_block(&block("other", 8 * GIB, 16_384)).expect("added");
        if refuse_twice {
            let refused = refusing(0, || lock().start_tracking(Client::DirtyRate)).0;
            let refused = refused.expect_err("the rings are not empty");
            assert!(matches!(refused, Error::OutOfMemory { .. }), "{refused}");
        }
        lock().start_tracking(Client::DirtyRate).expect("there is memory again");
        sync(&machine);
        let written = pages_of(&machine, Client::DirtyRate);
        let others = written.iter().filter(|frame| *frame >= 8 * GIB / page_size()).count();
        assert_eq!(others, 0, "pages of a block that nobody wrote");
    }
}
