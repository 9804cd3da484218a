//! Models of harvests by the reaper, by a vCPU at its watermark and by a sync, beside a guest that fills its ring,
//! under every order of events within loom's bounds.
//!
//! The code is the real one, except for the kernel. Its rings and their protection (virt/kvm/dirty_ring.c) are
//! modelled: the flags of the entries are atomics, and the entries are memory that loom watches. KVM_RUN is in
//! `loom_vcpu`.

use std::sync::atomic::Ordering::{Acquire, Release};

use loom::cell::UnsafeCell;
use loom::sync::atomic::AtomicU32;
use loom::thread;

use super::cursor::EntryState;
use super::loom_vcpu::{GuestStep, Vcpu};
use super::*;
use crate::locks::{Condvar, wait};

const BLOCK: BlockId = BlockId(1);
const PAGES: usize = 3;
/// Positions, and how many entries make it full.
const SIZE: u32 = 4;
const FULL: u32 = 2;

/// What the kernel guards with its MMU's lock.
#[derive(Default)]
struct Mmu {
    /// Pages that the guest can write without being seen.
    writable: [bool; PAGES],
    /// How often each page was written.
    contents: [u64; PAGES],
    /// Pages that the hardware noted, and the kernel looks at when the vCPU leaves.
    noted: Vec<usize>,
    /// The kernel's indices.
    dirty: u32,
    reset: u32,
}

struct Kernel {
    /// The hardware notes what is written (page-modification log); otherwise the kernel sees each write.
    hardware_notes: bool,
    mmu: Mutex<Mmu>,
    flags: Vec<AtomicU32>,
    pages: Vec<UnsafeCell<u64>>,
}

// SAFETY: an entry is the kernel's until its flag says that it is dirty, and again once it was reset. Loom checks each
// access.
unsafe impl Sync for Kernel {}
// SAFETY: as above.
unsafe impl Send for Kernel {}

impl Kernel {
    fn new(hardware_notes: bool) -> Arc<Self> {
        Arc::new(Self {
            hardware_notes,
            mmu: Mutex::default(),
            flags: (0..SIZE).map(|_| AtomicU32::new(0)).collect(),
            pages: (0..SIZE).map(|_| UnsafeCell::new(0)).collect(),
        })
    }

    /// The guest writes a page. Returns whether it could, because the ring was not full.
    fn write(&self, page: usize) -> bool {
        let mut mmu = lock(&self.mmu);
        if mmu.dirty.wrapping_sub(mmu.reset) + mmu.noted.len() as u32 >= FULL {
            return false;
        }
        if !mmu.writable[page] {
            mmu.writable[page] = true;
            if self.hardware_notes {
                mmu.noted.push(page);
            } else {
                self.push(&mut mmu, page);
            }
        }
        mmu.contents[page] += 1;
        true
    }

    /// The vCPU leaves KVM_RUN.
    fn leave(&self) {
        let mut mmu = lock(&self.mmu);
        for page in std::mem::take(&mut mmu.noted) {
            self.push(&mut mmu, page);
        }
    }

    fn push(&self, mmu: &mut Mmu, page: usize) {
        let at = (mmu.dirty % SIZE) as usize;
        // SAFETY: the position is the kernel's: see above.
        self.pages[at].with_mut(|entry| unsafe { *entry = page as u64 });
        self.flags[at].store(1, Release);
        mmu.dirty = mmu.dirty.wrapping_add(1);
    }
}

/// The kernel as the VM sees it.
struct Vm(Arc<Kernel>);

impl RingVm for Vm {
    fn logged(&self, _: u32) -> Option<(BlockId, u64)> {
        Some((BLOCK, PAGES as u64))
    }

    fn protect_all(&mut self) -> Result<()> {
        unreachable!("each RESET counts what it should")
    }

    fn reset(&self) -> Result<u32> {
        let mut count = 0;
        let mut next = lock(&self.0.mmu).reset;
        loop {
            let at = (next % SIZE) as usize;
            if self.0.flags[at].load(Acquire) != 2 {
                return Ok(count);
            }
            // SAFETY: the reader gave the position back.
            let page = self.0.pages[at].with(|entry| unsafe { *entry });
            self.0.flags[at].store(0, Release);
            let mut mmu = lock(&self.0.mmu);
            mmu.writable[page as usize] = false;
            next = next.wrapping_add(1);
            mmu.reset = next;
            count += 1;
        }
    }
}

/// The kernel's ring as it is mapped.
struct Mapped(Arc<Kernel>);

impl Entries for Mapped {
    fn size(&self) -> u32 {
        SIZE
    }

    fn full(&self) -> u32 {
        FULL
    }

    fn state(&self, position: u32) -> EntryState {
        match self.0.flags[position as usize].load(Acquire) {
            0 => EntryState::Empty,
            1 => EntryState::Dirty,
            _ => EntryState::Harvested,
        }
    }

    fn read(&self, position: u32) -> (u32, u64) {
        // SAFETY: the position is dirty, so the kernel leaves it alone.
        (0, self.0.pages[position as usize].with(|entry| unsafe { *entry }))
    }

    fn mark_harvested(&mut self, position: u32) {
        self.0.flags[position as usize].store(2, Release);
    }
}

/// A VM of one vCPU with a ring.
#[derive(Clone)]
struct Rung {
    kernel: Arc<Kernel>,
    vcpu: Vcpu,
    rings: Arc<Mutex<Rings<Mapped, Vm>>>,
    exits: Arc<OnVcpus<Mapped, Vm>>,
    written: Arc<(Mutex<bool>, Condvar)>,
}

enum Exit {
    Full,
}

impl Rung {
    fn new(reaping: Reaping, hardware_notes: bool) -> Self {
        let kernel = Kernel::new(hardware_notes);
        let mut rings = Rings::new(Arc::new(Mutex::new(Vm(Arc::clone(&kernel)))));
        rings.push(Mapped(Arc::clone(&kernel)), 0);
        let rings = Arc::new(Mutex::new(rings));
        let exits = OnVcpus { rings: Arc::clone(&rings), wake: Wake::default(), entries: FULL, reaping };
        Self { kernel, vcpu: Vcpu::default(), rings, exits: Arc::new(exits), written: Arc::default() }
    }

    /// Starts a guest that writes these pages, one after the other.
    fn start(&self, pages: &'static [usize]) -> thread::JoinHandle<()> {
        let vm = self.clone();
        thread::spawn(move || {
            let mut left = pages;
            vm.vcpu.enter(|| {
                loop {
                    let guest = || match left {
                        [page, rest @ ..] if vm.kernel.write(*page) => {
                            left = rest;
                            GuestStep::Continue
                        }
                        [_, ..] => GuestStep::Exit(Exit::Full),
                        [] => {
                            *lock(&vm.written.0) = true;
                            vm.written.1.notify_all();
                            GuestStep::Loop
                        }
                    };
                    let exit = vm.vcpu.run(guest);
                    vm.kernel.leave();
                    match exit {
                        None => return vm.exits.kicked(0),
                        // It rests, and then it may go on or not.
                        Some(Exit::Full) => {
                            vm.exits.full(0).expect("it is attached");
                            thread::yield_now();
                            if !vm.vcpu.may_run() {
                                return;
                            }
                        }
                    }
                }
            });
        })
    }

    fn start_reaper(&self) -> thread::JoinHandle<()> {
        let vm = self.clone();
        // Its clock stands still: it wakes when a ring is full.
        thread::spawn(move || reaper::run(&vm.rings, &vm.vcpu, &vm.exits.wake, Reaping::Hold, SIZE))
    }

    /// Starts a sync on a thread of its own, because the model's first thread only starts threads and waits for them.
    fn start_sync(&self) -> thread::JoinHandle<[u64; PAGES]> {
        let vm = self.clone();
        thread::spawn(move || {
            let mut copy = [0; PAGES];
            vm.sync(&mut copy);
            copy
        })
    }

    fn wait_written(&self) {
        let mut written = lock(&self.written.0);
        while !*written {
            written = wait(&self.written.1, written);
        }
    }

    /// A sync by a client that reads the pages which it gets.
    fn sync(&self, copy: &mut [u64; PAGES]) {
        draw_edge(&self.rings, &self.vcpu).expect("an edge");
        let mut words = [0];
        let mut rings = lock(&self.rings);
        rings.set_in(BLOCK, &mut words);
        rings.forget_ready(BLOCK);
        assert_eq!(rings.take_loss(), RingLoss::default(), "nothing was written over");
        let mmu = lock(&self.kernel.mmu);
        for page in (0..PAGES).filter(|page| words[0] >> page & 1 == 1) {
            assert!(mmu.contents[page] > 0, "page {page} is made up");
            copy[page] = mmu.contents[page];
        }
    }

    /// Checks, after the last write, that the client's copy equals the guest's memory.
    fn ends_whole(&self, mut copy: [u64; PAGES]) {
        self.sync(&mut copy);
        assert_eq!(copy, lock(&self.kernel.mmu).contents, "a write is lost");
    }
}

fn sync_beside_a_watermark(hardware_notes: bool) {
    loom::model(move || {
        let vm = Rung::new(Reaping::Watermark, hardware_notes);
        let vcpu = vm.start(&[0, 1]);
        let syncer = vm.start_sync();
        vm.wait_written();
        vm.ends_whole(syncer.join().expect("it did not panic"));
        vm.vcpu.end(vcpu);
    });
}

#[test]
fn a_sync_beside_a_vcpu_that_harvests_at_its_watermark_loses_nothing() {
    sync_beside_a_watermark(false);
}

#[test]
fn a_sync_gets_what_only_the_hardware_knows() {
    sync_beside_a_watermark(true);
}

#[test]
fn the_reaper_empties_a_full_ring_beside_a_sync() {
    loom::model(|| {
        let vm = Rung::new(Reaping::Hold, false);
        let (reaper, vcpu) = (vm.start_reaper(), vm.start(&[0, 1, 2]));
        let syncer = vm.start_sync();
        vm.wait_written();
        vm.ends_whole(syncer.join().expect("it did not panic"));
        vm.vcpu.end(vcpu);
        vm.exits.wake.end();
        reaper.join().expect("it did not panic");
    });
}

#[test]
fn a_harvest_of_a_ring_that_is_written_sees_whole_entries() {
    loom::model(|| {
        let vm = Rung::new(Reaping::Hold, false);
        let vcpu = vm.start(&[0, 0, 2]);
        let rings = Arc::clone(&vm.rings);
        let harvesting =
            thread::spawn(move || (0..2).for_each(|_| lock(&rings).harvest().map(|_| ()).expect("harvested")));
        vm.wait_written();
        harvesting.join().expect("it did not panic");
        vm.ends_whole([0; PAGES]);
        vm.vcpu.end(vcpu);
    });
}
