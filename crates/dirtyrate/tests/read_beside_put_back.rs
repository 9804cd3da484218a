//! Somebody reads the bits while bits that were taken are put back: at each moment the pages of a chunk, their window,
//! and what each vCPU wrote fit together.

mod ring_log;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dirtyrate::dirty_memory::{Client, DirtyMemory, FakeLog, FakeProtect, Reap, VcpuPages, put_back};
use dirtyrate::{BlockId, BlockInfo, CancelToken, GuestClock};
use ring_log::RingLog;

const PAGE: u64 = 4096;
const CHUNKS: u64 = 500;
const CHUNK_PAGES: u64 = 64 * 5;
/// Dirty pages of each chunk, the last of them in its last word.
const DIRTY: [u64; 3] = [0, 100, CHUNK_PAGES - 1];
const VCPUS: usize = 3;
/// Entries of each vCPU that name a page again.
const AGAIN: u64 = 7;
const WINDOW: Duration = Duration::from_secs(CHUNKS);

/// What a reap says while some of the chunks are back.
fn check(reap: &Reap) {
    let block = &reap.blocks[0];
    let back = block.pages / DIRTY.len() as u64;
    assert_eq!(block.pages, back * DIRTY.len() as u64, "a chunk is back in part");
    // The block's window is the mean of the chunks' windows, and of each chunk that is back it has one second.
    assert_eq!(block.window.as_millis(), u128::from(back) * 1000, "windows of {back} chunks");
    let ring = reap.ring.as_ref().expect("rings");
    for (id, vcpu) in ring.vcpus.iter().enumerate() {
        assert_eq!(vcpu.pages, block.pages, "vCPU {id}");
        assert_eq!(vcpu.entries, vcpu.pages + vcpu.duplicates, "vCPU {id}: {vcpu:?}");
        assert!(vcpu.duplicates <= AGAIN, "vCPU {id}: {vcpu:?}");
    }
    assert_eq!(ring.shared_pages, block.pages);
}

#[test]
fn pages_windows_and_vcpus_fit_together_while_bits_are_put_back() {
    let ram = BlockInfo { id: BlockId(1), name: "ram".to_owned(), guest_address: 0, pages: CHUNKS * CHUNK_PAGES };
    let log = FakeLog::new(FakeProtect::Automatic);
    log.add_block(ram.id, ram.pages);
    let mut written = VcpuPages::default();
    let dirty = (0..CHUNKS).flat_map(|chunk| DIRTY.map(|page| chunk * CHUNK_PAGES + page));
    dirty.clone().for_each(|page| _ = written.pages.try_insert(page).expect("room"));
    written.entries = CHUNKS * DIRTY.len() as u64 + AGAIN;
    let clock = GuestClock::by_hand();
    let rings = RingLog { log: log.clone(), written: vec![written; VCPUS] };
    let mut memory = DirtyMemory::with_clock(Box::new(rings), PAGE, CHUNK_PAGES * PAGE, clock.clone());
    memory.add_block(ram.clone()).expect("a block");
    memory.start_tracking(Client::DirtyRate).expect("step 1");
    memory.clear(Client::DirtyRate).expect("step 3");
    dirty.for_each(|page| log.guest_write(ram.id, page));
    clock.advance(WINDOW);
    memory.sync(&CancelToken::new()).expect("step 4");
    let (whole, bits) = (memory.reap(Client::DirtyRate).expect("step 5"), memory.shared_bits());
    check(&whole);
    assert_eq!(whole.pages, CHUNKS * DIRTY.len() as u64);
    for _ in 0..20 {
        let mut words = vec![0; ram.words()];
        let taken = memory.take_bitmap(Client::DirtyRate, "ram", &mut words).expect("taken");
        let is_back = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                put_back(&bits, &taken, &words).expect("put back");
                is_back.store(true, Ordering::Release);
            });
            while !is_back.load(Ordering::Acquire) {
                check(&bits.lock().reap(Client::DirtyRate).expect("step 5"));
            }
        });
        let mut again = bits.lock().reap(Client::DirtyRate).expect("step 5");
        again.witness.clone_from(&whole.witness);
        assert_eq!(again, whole);
    }
}
