//! Logs that lie or are gone, and arguments that cannot be: errors, never a panic, a wait or a wrong figure.

mod ring_log;

use std::cell::Cell;
use std::time::{Duration, Instant};

use dirtyrate::dirty_memory::{Client, DirtyLog, DirtyMemory, FakeLog, FakeProtect, Prepared, RingLoss, VcpuLog};
use dirtyrate::dirty_memory::{Reap, VcpuPages};
use dirtyrate::{BlockId, BlockInfo, CancelToken, Error, Result};
use ring_log::RingLog;

const PAGE: u64 = 4096;
const PAGES: u64 = 2000;

fn ram() -> BlockInfo {
    BlockInfo { id: BlockId(1), name: "ram".to_owned(), guest_address: 0, pages: PAGES }
}

fn fake(protect: FakeProtect) -> FakeLog {
    let log = FakeLog::new(protect);
    log.add_block(ram().id, PAGES);
    log
}

/// The steps 1 to 3.
fn measured(log: Box<dyn DirtyLog>) -> Result<DirtyMemory> {
    let mut memory = DirtyMemory::new(log, PAGE, 1 << 30);
    memory.add_block(ram())?;
    memory.start_tracking(Client::DirtyRate)?;
    memory.discard_initial_log(&CancelToken::new())?;
    memory.clear(Client::DirtyRate)?;
    Ok(memory)
}

/// What a log of rings says.
#[derive(Clone, Default)]
struct Said {
    vcpus: usize,
    /// The vCPU that is named when room is made, and the vCPU that is named when the pages are added.
    names: [usize; 2],
    pages: Vec<u64>,
    entries: u64,
    lost: u64,
    took: Duration,
}

struct LyingRings {
    log: RingLog,
    said: Said,
    visits: Cell<usize>,
}

impl LyingRings {
    fn boxed(said: Said) -> Box<dyn DirtyLog> {
        let log = RingLog { log: fake(FakeProtect::Automatic), written: Vec::new() };
        Box::new(Self { log, said, visits: Cell::new(0) })
    }
}

impl DirtyLog for LyingRings {
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        self.log.set_logging(block, on)
    }

    fn initially_set(&self) -> bool {
        false
    }

    fn fetch_reprotects(&self) -> bool {
        true
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

impl VcpuLog for LyingRings {
    fn prepare(&mut self) -> Result<Prepared> {
        let now = Instant::now();
        Ok(Prepared::new(now, now, self.said.took))
    }

    fn vcpus(&self) -> usize {
        self.said.vcpus
    }

    fn visit(&self, _: BlockId, visit: &mut dyn FnMut(usize, &VcpuPages) -> Result<()>) -> Result<()> {
        let mut written = VcpuPages::default();
        self.said.pages.iter().try_for_each(|page| written.pages.try_insert(*page).map(drop))?;
        written.entries = self.said.entries;
        let number = self.visits.replace(self.visits.get() + 1);
        visit(self.said.names[number % 2], &written)
    }

    fn forget_pages(&mut self, _: BlockId) {}

    fn take_loss(&mut self) -> RingLoss {
        let mut loss = RingLoss::default();
        (loss.lost, loss.dropped, loss.lost_before) = (self.said.lost, self.said.lost, self.said.lost);
        loss
    }
}

/// Three syncs, and the reap.
fn measure(said: Said) -> Result<Reap> {
    let mut memory = measured(LyingRings::boxed(said))?;
    (0..3).try_for_each(|_| memory.sync(&CancelToken::new()).map(drop))?;
    memory.reap(Client::DirtyRate)
}

#[test]
fn a_log_that_names_another_vcpu_the_second_time_is_believed() {
    let pages: Vec<u64> = (0..4).map(|region| region * 512).collect();
    let said = Said { vcpus: 8, names: [0, 7], pages, entries: 4, ..Said::default() };
    let ring = measure(said).expect("a figure").ring.expect("rings");
    let pages: Vec<_> = ring.vcpus.iter().map(|vcpu| vcpu.pages).collect();
    assert_eq!(pages, [0, 0, 0, 0, 0, 0, 0, 4]);
}

#[test]
fn a_vcpu_of_an_impossible_number_is_an_error() {
    for number in [1 << 50, usize::MAX] {
        for names in [[number, 0], [0, number]] {
            let said = Said { vcpus: 1, names, pages: vec![1], entries: 1, ..Said::default() };
            assert!(matches!(measure(said), Err(Error::OutOfMemory { .. })), "{names:?}");
        }
    }
    let said = Said { vcpus: usize::MAX, ..Said::default() };
    assert!(matches!(measure(said), Err(Error::OutOfMemory { .. })), "so many vCPUs");
    let memory = DirtyMemory::new(LyingRings::boxed(Said { vcpus: usize::MAX, ..Said::default() }), PAGE, 1 << 30);
    assert!(matches!(memory.bits().reap(Client::DirtyRate), Err(Error::OutOfMemory { .. })), "nor are they counted");
}

#[test]
fn figures_that_no_number_can_say_stay_at_the_largest_one() {
    let said = Said { vcpus: 1, pages: vec![1], entries: u64::MAX, lost: u64::MAX, ..Said::default() };
    let ring = measure(said).expect("a figure").ring.expect("rings");
    assert_eq!((ring.vcpus[0].pages, ring.vcpus[0].entries), (1, u64::MAX));
    assert_eq!((ring.lost, ring.dropped), (u64::MAX, u64::MAX));

    let mut written = vec![VcpuPages::default(); 2];
    written.iter_mut().for_each(|of_vcpu| of_vcpu.entries = u64::MAX);
    let rings = RingLog { log: fake(FakeProtect::Automatic), written };
    let mut memory = measured(Box::new(rings)).expect("step 3");
    memory.sync(&CancelToken::new()).expect("step 4");
    let ring = memory.reap(Client::DirtyRate).expect("step 5").ring.expect("rings");
    assert_eq!((ring.entries(), ring.duplicates()), (u64::MAX, u64::MAX), "over both vCPUs");

    let mut sum = VcpuPages::default();
    let mut most = VcpuPages::default();
    most.entries = u64::MAX;
    (0..2).for_each(|_| sum.add(&most));
    assert_eq!(sum.entries, u64::MAX);

    let said = Said { vcpus: 1, took: Duration::MAX, ..Said::default() };
    let mut memory = measured(LyingRings::boxed(said)).expect("step 3");
    let report = memory.sync(&CancelToken::new()).expect("step 4");
    assert_eq!((report.fetch, report.longest_call, report.calls()), (Duration::MAX, Duration::MAX, Duration::MAX));
}

#[test]
fn a_block_whose_log_is_gone_can_be_removed() {
    for protect in [FakeProtect::Automatic, FakeProtect::Manual, FakeProtect::ManualInitiallySet] {
        let log = fake(protect);
        let mut memory = measured(Box::new(log.clone())).expect("step 3");
        log.guest_write(ram().id, 5);
        memory.sync(&CancelToken::new()).expect("step 4");
        log.remove_block(ram().id);
        memory.stop_tracking(Client::DirtyRate).expect_err("its last fetch fails");
        memory.remove_block("ram", || Err(Error::State("not now".to_owned()))).expect_err("the caller's error");
        assert_eq!(memory.bits().blocks().count(), 1, "{protect:?}: the block stays");
        memory.remove_block("ram", || Ok(())).expect("removed");
        assert_eq!(memory.bits().blocks().count(), 0, "{protect:?}");
        let reap = memory.reap(Client::DirtyRate).expect("step 5");
        assert_eq!((reap.pages, reap.blocks[0].removed), (1, true), "{protect:?}: what was fetched before counts");
        memory.stop_tracking(Client::DirtyRate).expect("nothing is left to fetch");
    }
}

#[test]
fn a_block_of_another_page_size_than_its_log_is_refused() {
    struct Knows(FakeLog, u64);
    impl DirtyLog for Knows {
        fn page_size(&self) -> Option<u64> {
            Some(self.1)
        }
        fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
            self.0.set_logging(block, on)
        }
        fn initially_set(&self) -> bool {
            self.0.initially_set()
        }
        fn fetch_reprotects(&self) -> bool {
            self.0.fetch_reprotects()
        }
        fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
            self.0.fetch(block, into)
        }
        fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()> {
            self.0.reprotect(block, first_page, pages, bits)
        }
    }
    let add = |page_size| {
        let log = Knows(fake(FakeProtect::Manual), page_size);
        DirtyMemory::new(Box::new(log), PAGE, 1 << 30).add_block(ram())
    };
    add(PAGE).expect("the same size");
    let error = add(16 * PAGE).expect_err("another size");
    assert!(matches!(error, Error::Layout { .. }), "{error}");
    assert!(error.to_string().contains("pages of 65536 bytes"), "{error}");
}

#[test]
fn a_page_size_that_is_no_power_of_two_is_a_panic_that_says_so() {
    for wrong in [0, 3000, u64::MAX] {
        let made = std::panic::catch_unwind(|| DirtyMemory::new(Box::new(fake(FakeProtect::Manual)), wrong, 1 << 30));
        let panic = made.err().expect("no such pages");
        let text = panic.downcast_ref::<String>().expect("a text");
        assert_eq!(*text, format!("pages of {wrong} bytes: the size of a page is a power of two"));
    }
}

#[test]
fn a_region_without_pages_or_with_too_many_has_no_heat() {
    let memory = measured(Box::new(fake(FakeProtect::Manual))).expect("step 3");
    for pages in [0, 1 << 32, u64::MAX] {
        let heat = memory.bits().heat(Client::DirtyRate, "ram", pages, &mut [7; 4]);
        assert!(matches!(heat, Err(Error::Argument(_))), "{pages}: {heat:?}");
        let heat = memory.bits().heat(Client::Migration, "ram", pages, &mut [7; 4]);
        assert!(matches!(heat, Err(Error::Argument(_))), "{pages}, without bits: {heat:?}");
    }
    let mut heat = [7; 4];
    memory.bits().heat(Client::DirtyRate, "ram", (1 << 32) - 1, &mut heat).expect("the largest region");
    assert_eq!(heat, [0; 4]);
}
