//! Tests of a VM's rings with a model of the kernel's side (virt/kvm/dirty_ring.c). In the model, vCPUs go on writing
//! between any two accesses of the reader, leave KVM_RUN late, and go around their rings more than once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use super::cursor::{Entries, EntryState};
use super::ring_vm::RingVm;
use super::rings::Rings;
use crate::block::BlockId;
use crate::error::Result;
use crate::locks::{Mutex, lock};

const BLOCK: BlockId = BlockId(1);
/// How many steps the vCPUs make until a hold has taken effect.
const UNTIL_HELD: usize = 16;
/// Entries whose pages a RESET protects together.
const BATCH: usize = 3;

struct KernelRing {
    flags: Vec<EntryState>,
    pages: Vec<u64>,
    dirty: u32,
    reset: u32,
    /// The vCPU is in KVM_RUN.
    inside: bool,
    /// The vCPU has left because its ring is full, and has not reported this yet.
    says_full: bool,
}

impl KernelRing {
    fn size(&self) -> u32 {
        self.flags.len() as u32
    }

    /// Entries that were not reset.
    fn ahead(&self) -> u32 {
        self.dirty.wrapping_sub(self.reset)
    }

    fn is_full(&self) -> bool {
        self.ahead() >= self.size() / 2
    }

    fn leave(&mut self) {
        self.says_full |= self.inside && self.is_full();
        self.inside = false;
    }

    fn enter(&mut self) {
        self.inside = !self.is_full();
        self.says_full |= !self.inside;
    }
}

/// What the vCPUs do between two accesses of ours.
#[derive(Debug, Clone)]
enum Step {
    Nothing(u32),
    Write {
        vcpu: usize,
        pages: u32,
    },
    Leave(usize),
    Enter(usize),
    /// A RESET ends early, when it has counted so many entries, as of Linux 6.16 when a signal comes that could not be
    /// held back.
    Interrupt(u32),
}

struct Kernel {
    rings: Vec<KernelRing>,
    /// A vCPU leaves as soon as its ring is full, as where guest code runs at the CPU's own level.
    exact: bool,
    /// Entries that were written where the reader had not been.
    overran: u64,
    script: VecDeque<Step>,
    interrupt_after: Option<u32>,
    /// A RESET was interrupted in the window that is open.
    ended_early: bool,
    /// Pages that a RESET counted but did not protect yet, and pages of entries that were written over, which no RESET
    /// gets. A write to such a page is in no ring.
    unprotected: VecDeque<u64>,
    held: bool,
    /// Each write is to a page of its own, but for those that are not protected. Those of the window that is open, by
    /// vCPU.
    written: Vec<BTreeSet<u64>>,
    next_page: u64,
}

impl Kernel {
    fn new(vcpus: usize, size: u32, start: u32, exact: bool, script: Vec<Step>) -> Self {
        let ring = || KernelRing {
            flags: vec![EntryState::Empty; size as usize],
            pages: vec![0; size as usize],
            dirty: start,
            reset: start,
            inside: true,
            says_full: false,
        };
        Self {
            rings: (0..vcpus).map(|_| ring()).collect(),
            exact,
            overran: 0,
            script: script.into(),
            interrupt_after: None,
            ended_early: false,
            unprotected: VecDeque::new(),
            held: false,
            written: vec![BTreeSet::new(); vcpus],
            next_page: 0,
        }
    }

    fn write(&mut self, vcpu: usize) {
        // One that was written in this window already would change nothing.
        let unseen = self.unprotected.iter().find(|page| self.written.iter().all(|written| !written.contains(page)));
        if let Some(page) = unseen {
            self.written[vcpu].insert(*page);
            return;
        }
        let ring = &mut self.rings[vcpu];
        self.overran += u64::from(ring.ahead() >= ring.size());
        let at = (ring.dirty % ring.size()) as usize;
        if ring.flags[at] != EntryState::Empty {
            self.unprotected.push_back(ring.pages[at]);
        }
        (ring.flags[at], ring.pages[at]) = (EntryState::Dirty, self.next_page);
        ring.dirty = ring.dirty.wrapping_add(1);
        self.written[vcpu].insert(self.next_page);
        self.next_page += 1;
    }

    fn go_on(&mut self) {
        if self.held {
            return;
        }
        match self.script.front_mut() {
            Some(Step::Nothing(times)) if *times > 0 => return *times -= 1,
            None => return,
            Some(_) => {}
        }
        match self.script.pop_front().expect("there is one") {
            Step::Nothing(_) => {}
            Step::Write { vcpu, pages } => {
                for _ in 0..pages {
                    if self.exact && self.rings[vcpu].is_full() {
                        self.rings[vcpu].leave();
                    }
                    if self.rings[vcpu].inside {
                        self.write(vcpu);
                    }
                }
            }
            Step::Leave(vcpu) => self.rings[vcpu].leave(),
            Step::Enter(vcpu) if !self.rings[vcpu].inside => self.rings[vcpu].enter(),
            Step::Enter(_) => {}
            Step::Interrupt(after) => self.interrupt_after = Some(after),
        }
    }

    /// KVM_RESET_DIRTY_RINGS.
    fn reset(&mut self) -> u32 {
        let mut count = 0;
        for vcpu in 0..self.rings.len() {
            let mut gathered = VecDeque::new();
            loop {
                self.go_on();
                let ring = &mut self.rings[vcpu];
                let at = (ring.reset % ring.size()) as usize;
                if ring.flags[at] != EntryState::Harvested {
                    break;
                }
                self.interrupt_after = match self.interrupt_after {
                    Some(0) => {
                        self.ended_early = true;
                        self.unprotected.append(&mut gathered);
                        self.interrupt_after = None;
                        return count;
                    }
                    left => left.map(|left| left - 1),
                };
                assert_ne!(ring.reset, ring.dirty, "entries are given back that were never written");
                ring.flags[at] = EntryState::Empty;
                ring.reset = ring.reset.wrapping_add(1);
                count += 1;
                if gathered.len() == BATCH {
                    gathered.clear();
                }
                gathered.push_back(ring.pages[at]);
            }
        }
        count
    }
}

struct Vm(Arc<Mutex<Kernel>>);

impl RingVm for Vm {
    fn logged(&self, _: u32) -> Option<(BlockId, u64)> {
        Some((BLOCK, u64::MAX))
    }

    fn reset(&self) -> Result<u32> {
        Ok(lock(&self.0).reset())
    }

    fn protect_all(&mut self) -> Result<()> {
        let mut kernel = lock(&self.0);
        assert!(kernel.held, "what is written while the log is off is lost");
        kernel.unprotected.clear();
        Ok(())
    }
}

struct Mapped {
    kernel: Arc<Mutex<Kernel>>,
    vcpu: usize,
    size: u32,
}

impl Entries for Mapped {
    fn size(&self) -> u32 {
        self.size
    }

    fn full(&self) -> u32 {
        self.size / 2
    }

    fn state(&self, position: u32) -> EntryState {
        let mut kernel = lock(&self.kernel);
        kernel.go_on();
        kernel.rings[self.vcpu].flags[position as usize]
    }

    fn read(&self, position: u32) -> (u32, u64) {
        let mut kernel = lock(&self.kernel);
        kernel.go_on();
        (0, kernel.rings[self.vcpu].pages[position as usize])
    }

    fn mark_harvested(&mut self, position: u32) {
        let mut kernel = lock(&self.kernel);
        kernel.rings[self.vcpu].flags[position as usize] = EntryState::Harvested;
        kernel.go_on();
    }
}

struct Harness {
    kernel: Arc<Mutex<Kernel>>,
    rings: Rings<Mapped, Vm>,
    vcpus: usize,
    /// Entries that were said to be lost.
    lost: u64,
}

impl Harness {
    fn new(World { vcpus, size, start, script, .. }: World, exact: bool) -> Self {
        let kernel = Arc::new(Mutex::new(Kernel::new(vcpus, size, start, exact, script)));
        let mut rings = Rings::new(Arc::new(Mutex::new(Vm(Arc::clone(&kernel)))));
        for vcpu in 0..vcpus {
            rings.push(Mapped { kernel: Arc::clone(&kernel), vcpu, size }, start);
        }
        Self { kernel, rings, vcpus, lost: 0 }
    }

    /// Runs `act` while the vCPUs stand.
    fn held<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let mut kernel = lock(&self.kernel);
        // They go on until they stand.
        (0..UNTIL_HELD).for_each(|_| kernel.go_on());
        let inside: Vec<bool> = kernel.rings.iter().map(|ring| ring.inside).collect();
        kernel.rings.iter_mut().for_each(KernelRing::leave);
        kernel.held = true;
        drop(kernel);
        let result = act(self);
        let mut kernel = lock(&self.kernel);
        kernel.held = false;
        for (ring, inside) in kernel.rings.iter_mut().zip(inside) {
            if inside {
                ring.enter();
            }
        }
        result
    }

    /// As the reaper does it, when it is woken: because of a full ring, or not.
    fn reap(&mut self) {
        let mut full = false;
        for vcpu in 0..self.vcpus {
            if std::mem::take(&mut lock(&self.kernel).rings[vcpu].says_full) {
                self.rings.is_full(vcpu);
                full = true;
            }
        }
        let harvested = self.rings.harvest().expect("harvested");
        if full || !harvested.in_step || harvested.overrun {
            self.held(|it| it.rings.harvest_stopped()).expect("harvested");
        }
    }

    /// Ends a window, and compares it with the pages that were written in it. Returns whether the window says that it
    /// is complete, or a RESET ended early.
    fn window(&mut self) -> std::result::Result<bool, TestCaseError> {
        self.held(|it| {
            it.rings.harvest_stopped().expect("harvested");
            it.rings.close_window().expect("closed");
            let mut kernel = lock(&it.kernel);
            let left =
                kernel.rings.iter().flat_map(|ring| &ring.flags).filter(|state| **state != EntryState::Empty).count();
            prop_assert_eq!(left, 0, "entries are left in a ring");
            let loss = it.rings.take_loss();
            it.lost += loss.lost + loss.lost_before;
            let complete = !loss.is_incomplete();
            let mut seen = vec![BTreeSet::new(); it.vcpus];
            let collect = &mut |vcpu: usize, written: &crate::dirty_memory::VcpuPages| {
                seen[vcpu].extend(written.pages.iter());
                Ok(())
            };
            it.rings.visit(BLOCK, collect).expect("seen");
            it.rings.forget_ready(BLOCK);
            for (seen, written) in seen.iter().zip(&mut kernel.written) {
                prop_assert!(seen.is_subset(written), "pages of no write in this window: {:?}", seen - written);
                prop_assert!(!complete || seen == written, "not told: {:?}", &*written - seen);
                written.clear();
            }
            let ended_early = std::mem::take(&mut kernel.ended_early);
            Ok(complete || ended_early)
        })
    }
}

fn step(vcpus: usize, size: u32) -> impl Strategy<Value = Step> {
    let vcpu = 0..vcpus;
    prop_oneof![
        3 => (0..size).prop_map(Step::Nothing),
        4 => (vcpu.clone(), 1..=3 * size).prop_map(|(vcpu, pages)| Step::Write { vcpu, pages }),
        1 => vcpu.clone().prop_map(Step::Leave),
        2 => vcpu.prop_map(Step::Enter),
        2 => (0..size).prop_map(Step::Interrupt),
    ]
}

#[derive(Debug, Clone)]
struct World {
    vcpus: usize,
    size: u32,
    /// Where the kernel's counters begin.
    start: u32,
    script: Vec<Step>,
    /// The steps of the reader: `true` ends a window, and `false` reaps.
    windows: Vec<bool>,
}

fn worlds() -> impl Strategy<Value = World> {
    // Around the wrap of the kernel's counters, and elsewhere.
    let starts = prop_oneof![Just(0), Just(u32::MAX), (u32::MAX - 100)..u32::MAX, any::<u32>()];
    (1usize..4, 1u32..6, starts).prop_flat_map(|(vcpus, order, start)| {
        let script = proptest::collection::vec(step(vcpus, 1 << order), 0..60);
        let windows = proptest::collection::vec(any::<bool>(), 1..30);
        (script, windows).prop_map(move |(script, windows)| World { vcpus, size: 1 << order, start, script, windows })
    })
}

/// As when the reaper finds a ring out of step, and a vCPU that looks after its own ring harvests before the reaper has
/// stopped them all.
#[test]
fn a_harvest_that_finds_nothing_leaves_the_place_of_a_ring_that_is_adrift_to_be_found() {
    // The reader hands back all eight entries. RESET has taken two of them when the vCPU comes round, and writes over
    // two others.
    let (read, reset) = (8 * 3, 2);
    let script = vec![Step::Nothing(read + reset - 1), Step::Write { vcpu: 0, pages: 4 }];
    let mut it = Harness::new(World { vcpus: 1, size: 8, start: 0, script, windows: Vec::new() }, false);
    (0..8).for_each(|_| lock(&it.kernel).write(0));
    assert!(!it.rings.harvest().expect("harvested").in_step, "RESET stops at the first entry that was written over");
    assert_eq!(lock(&it.kernel).rings[0].reset, reset);
    assert!(it.rings.harvest().expect("harvested").in_step, "there is nothing to RESET");
    assert!(!it.window().expect("a window"), "what was written over is lost");
    // One entry shows where the kernel stands. From there on the ring goes round and round.
    lock(&it.kernel).write(0);
    it.window().expect("a window");
    for _ in 0..12 {
        (0..3).for_each(|_| lock(&it.kernel).write(0));
        assert!(it.window().expect("a window"), "nothing was lost");
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_nor_said_to_be_without_an_overrun(world in worlds()) {
        let windows = world.windows.clone();
        let mut it = Harness::new(world, true);
        for window in windows {
            if window {
                prop_assert!(it.window()?);
            } else {
                it.reap();
            }
        }
        prop_assert!(it.window()?);
        prop_assert_eq!(it.lost, 0);
    }

    #[test]
    fn what_is_lost_is_told_and_the_rings_go_on(world in worlds(), after in 1u64..100) {
        let World { vcpus, size, windows, .. } = world.clone();
        let mut it = Harness::new(world, false);
        for window in windows {
            if window {
                it.window()?;
            } else {
                it.reap();
            }
        }
        lock(&it.kernel).script.clear();
        for vcpu in 0..vcpus {
            // However far it went, it comes in again, and one entry of it shows where it stands. That the ring is full
            // must be said twice, for half a ring each time.
            let ahead = lock(&it.kernel).rings[vcpu].ahead();
            let goes_on = (0..2 * (ahead / (size / 2) + 2)).any(|_| {
                it.reap();
                let mut kernel = lock(&it.kernel);
                kernel.interrupt_after = None;
                let ring = &mut kernel.rings[vcpu];
                ring.leave();
                ring.enter();
                ring.inside
            });
            prop_assert!(goes_on, "vCPU {} stands", vcpu);
            lock(&it.kernel).write(vcpu);
        }
        it.window()?;
        // From here on nobody comes too late, and all of it is there.
        for page in 0..after {
            let vcpu = page as usize % vcpus;
            if lock(&it.kernel).rings[vcpu].is_full() {
                it.reap();
            }
            lock(&it.kernel).write(vcpu);
            if page % 7 == 3 {
                prop_assert!(it.window()?, "nothing was lost");
            }
        }
        prop_assert!(it.window()?, "nothing was lost");
        let overran = lock(&it.kernel).overran;
        prop_assert!(it.lost <= overran, "{} said of {}", it.lost, overran);
    }
}
