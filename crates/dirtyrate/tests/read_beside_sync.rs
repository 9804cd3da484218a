//! While a sync gives the clients what the rings said, another thread reads the bits. At each moment the figures of the
//! vCPUs are consistent.

mod ring_log;

use std::sync::atomic::{AtomicBool, Ordering};

use dirtyrate::dirty_memory::{Client, DirtyMemory, FakeLog, FakeProtect, RingReap, VcpuPages};
use dirtyrate::{BlockId, BlockInfo, CancelToken};
use ring_log::RingLog;

const PAGE: u64 = 4096;
/// One page in each region of 512, in so many regions that a sync gives the lock back many times.
const REGIONS: u64 = 5000;
const VCPUS: usize = 3;
/// Entries of each vCPU that name a page again.
const AGAIN: u64 = 7;

/// The memory of a guest whose vCPUs wrote, with `entries` of each one, as a client finds it at step 4.
fn memory(entries: u64) -> DirtyMemory {
    let mut written = VcpuPages::default();
    for region in 0..REGIONS {
        written.pages.try_insert(region * 512).expect("room");
    }
    written.entries = entries;
    let log = FakeLog::new(FakeProtect::ManualInitiallySet);
    let ram = BlockInfo { id: BlockId(1), name: "ram".to_owned(), guest_address: 0, pages: REGIONS * 512 };
    log.add_block(ram.id, ram.pages);
    let mut memory = DirtyMemory::new(Box::new(RingLog { log, written: vec![written; VCPUS] }), PAGE, 1 << 30);
    memory.add_block(ram).expect("a block");
    memory.start_tracking(Client::DirtyRate).expect("step 1");
    memory.discard_initial_log(&CancelToken::new()).expect("step 2");
    memory.clear(Client::DirtyRate).expect("step 3");
    memory
}

fn check(reap: &RingReap) {
    for (id, vcpu) in reap.vcpus.iter().enumerate() {
        assert_eq!(vcpu.entries.checked_sub(vcpu.pages), Some(vcpu.duplicates), "vCPU {id}: {vcpu:?}");
        assert!(vcpu.duplicates <= AGAIN, "vCPU {id}: {vcpu:?}");
    }
}

#[test]
fn entries_and_pages_fit_together_while_a_sync_hands_them_out() {
    for _ in 0..20 {
        let mut memory = memory(REGIONS + AGAIN);
        let (bits, synced) = (memory.shared_bits(), &AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                memory.sync(&CancelToken::new()).expect("step 4");
                synced.store(true, Ordering::Release);
            });
            while !synced.load(Ordering::Acquire) {
                check(&bits.lock().reap(Client::DirtyRate).expect("step 5").ring.expect("rings"));
            }
        });
        let ring = bits.lock().reap(Client::DirtyRate).expect("step 5").ring.expect("rings");
        check(&ring);
        for vcpu in ring.vcpus {
            assert_eq!((vcpu.pages, vcpu.entries, vcpu.duplicates), (REGIONS, REGIONS + AGAIN, AGAIN));
        }
        assert_eq!(ring.shared_pages, REGIONS);
    }
}

#[test]
fn a_log_that_counts_fewer_entries_than_pages_is_given_one_for_each_page() {
    let mut memory = memory(REGIONS - 1);
    memory.sync(&CancelToken::new()).expect("step 4");
    let ring = memory.reap(Client::DirtyRate).expect("step 5").ring.expect("rings");
    for vcpu in ring.vcpus {
        assert_eq!((vcpu.pages, vcpu.entries, vcpu.duplicates), (REGIONS, REGIONS, 0));
    }
}

#[test]
fn the_sums_and_rates_are_those_of_the_vcpus() {
    let mut memory = memory(REGIONS + AGAIN);
    let before = memory.reap(Client::DirtyRate).expect("step 5");
    let ring = before.ring.as_ref().expect("rings");
    assert_eq!((before.dirty_bytes(), ring.entries(), ring.duplicates()), (0, 0, 0));
    assert!(ring.vcpus.iter().all(|vcpu| vcpu.bytes_per_second == 0.0), "{ring:?}");
    memory.sync(&CancelToken::new()).expect("step 4");
    let after = memory.reap(Client::DirtyRate).expect("step 5");
    let ring = after.ring.as_ref().expect("rings");
    let vcpus = VCPUS as u64;
    assert_eq!((ring.entries(), ring.duplicates()), (vcpus * (REGIONS + AGAIN), vcpus * AGAIN));
    let expected = (REGIONS * PAGE) as f64 / after.ran().as_secs_f64();
    assert!(expected.is_finite() && ring.vcpus.iter().all(|vcpu| vcpu.bytes_per_second == expected), "{ring:?}");
}
