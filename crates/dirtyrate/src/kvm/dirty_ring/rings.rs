//! All rings of a VM: harvest, RESET, and what was harvested and not fetched yet.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::cursor::{Cursor, Entries};
use super::mapped::MappedRing;
use super::ring_vm::RingVm;
use super::written::{Stage, Written};
use crate::block::BlockId;
use crate::dirty_memory::{RingLoss, VcpuPages};
use crate::error::{Error, Result};
use crate::kvm::slots::SlotTable;
use crate::locks::{Mutex, lock};

/// How often a harvest of a ring that nobody writes to is repeated until it is in step. Each repetition either comes to the
/// end of what an overrun left or finds nothing more to do.
const MOST_REPETITIONS: u32 = 8;

struct VcpuRing<E> {
    ring: E,
    cursor: Cursor,
    /// What the ring reported in the window that is open.
    staged: Written,
    loss: RingLoss,
    /// What the ring reported in the window that was closed last, until it is fetched.
    ready: Written,
    ready_loss: RingLoss,
    /// A possible loss was reported with the window that was closed, so that finding it later does not report it twice.
    reported: bool,
}

/// How full the rings were, and whether the kernel agrees on what was taken out.
#[derive(Debug, Clone, Copy, Default)]
pub struct Harvested {
    /// The most entries that one ring had.
    pub most: u32,
    /// RESET counted what was harvested.
    pub in_step: bool,
    /// A ring may have been overrun: only a stopped harvest can tell.
    pub overrun: bool,
}

/// RESET until there is nothing more to take: what ends it early may do so before the first entry.
fn reset_whole(vm: &impl RingVm) -> Result<u32> {
    let (mut all, mut nothing) = (0, 0);
    while nothing < 2 {
        let count = vm.reset()?;
        nothing = if count == 0 { nothing + 1 } else { 0 };
        all += count;
    }
    Ok(all)
}

pub struct Rings<E = MappedRing, V = SlotTable> {
    slots: Arc<Mutex<V>>,
    rings: Vec<VcpuRing<E>>,
    /// A RESET counted something else than it should have, and no stopped harvest has found every ring's place since.
    out_of_step: bool,
    /// Entries were lost, or may be, and not every page was protected again since then. The page of a lost entry is not protected, because
    /// no RESET named it, so a write to it is in no ring.
    unprotected: bool,
    /// A block's log went off, and no harvest has taken out since what the rings have of it.
    stale: bool,
    /// A vCPU that is not attached has run in the window that is open.
    stranger: bool,
}

impl Rings {
    /// Maps the ring of the next vCPU; which number it has here.
    pub fn attach(&mut self, vcpu: BorrowedFd<'_>, size: u32) -> Result<usize> {
        let ring = MappedRing::new(vcpu, size)?;
        let bytes = size_of::<VcpuRing<MappedRing>>();
        self.rings.try_reserve(1).map_err(|_| Error::OutOfMemory { what: "a dirty ring", bytes })?;
        self.push(ring, 0);
        Ok(self.rings.len() - 1)
    }
}

impl<E: Entries, V: RingVm> Rings<E, V> {
    pub fn new(slots: Arc<Mutex<V>>) -> Self {
        Self { slots, rings: Vec::new(), out_of_step: false, unprotected: false, stale: false, stranger: false }
    }

    /// The ring of the next vCPU, whose indices are both at `index`.
    pub fn push(&mut self, ring: E, index: u32) {
        let cursor = Cursor::at(index);
        self.rings.push(VcpuRing {
            ring,
            cursor,
            staged: Written::default(),
            loss: RingLoss::default(),
            ready: Written::default(),
            ready_loss: RingLoss::default(),
            reported: false,
        });
    }

    /// A vCPU left because its ring is full.
    pub fn is_full(&mut self, vcpu: usize) {
        if let Some(ring) = self.rings.get_mut(vcpu) {
            ring.cursor.is_full();
        }
    }

    /// Whether a vCPU's ring holds more than `entries`.
    pub fn has_passed(&self, vcpu: usize, entries: u32) -> bool {
        self.rings.get(vcpu).is_some_and(|ring| ring.cursor.is_dirty_at(&ring.ring, entries))
    }

    /// Takes out what is in the rings, and has its pages protected again. The vCPUs may run.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], or the kernel's refusal: what was not taken out stays in the rings.
    pub fn harvest(&mut self) -> Result<Harvested> {
        self.harvest_while(false)
    }

    fn harvest_while(&mut self, stopped: bool) -> Result<Harvested> {
        let slots = lock(&self.slots);
        let mut harvested = Harvested::default();
        let mut taken = Ok(());
        for VcpuRing { ring, cursor, staged, loss, reported, .. } in &mut self.rings {
            let mut stage = Stage::new(&*slots, staged, loss);
            let mut refused = Ok(());
            let harvest = cursor.harvest(ring, stopped, |slot, page| {
                refused = stage.keep(slot, page);
                refused.is_ok()
            });
            taken = taken.and(refused);
            self.unprotected |= harvest.lost > 0 || harvest.at_limit;
            if *reported {
                loss.lost_before += u64::from(harvest.lost);
            } else {
                loss.lost += u64::from(harvest.lost);
            }
            loss.maybe_lost |= harvest.at_limit;
            *reported &= cursor.is_suspect() && !harvest.at_limit;
            harvested.overrun |= cursor.wants_stop(ring);
            harvested.most = harvested.most.max(harvest.entries);
        }
        let expected: u64 = self.rings.iter().map(|ring| u64::from(ring.cursor.unreset())).sum();
        harvested.in_step = expected == 0 || u64::from(slots.reset()?) == expected;
        self.out_of_step |= !harvested.in_step;
        self.unprotected |= !harvested.in_step;
        for ring in &mut self.rings {
            if harvested.in_step {
                ring.cursor.was_reset();
            } else {
                ring.cursor.lose_place();
            }
        }
        taken.map(|()| harvested)
    }

    /// Says that something may be missing of the window that is open.
    fn may_have_lost(&mut self) {
        self.rings.iter_mut().for_each(|ring| ring.loss.maybe_lost = true);
    }

    /// Finds where the kernel stands in the rings of which that is not known. No vCPU runs.
    ///
    /// That a RESET counted less than it should have has two reasons: a vCPU came round and wrote over what had been handed back, or it
    /// ended early ([`reset_dirty_rings`]). Both leave pages unprotected, whose writes are seen by nobody until all are protected again.
    fn locate(&mut self) -> Result<()> {
        if !self.out_of_step {
            return Ok(());
        }
        self.may_have_lost();
        let slots = lock(&self.slots);
        reset_whole(&*slots)?;
        for VcpuRing { ring, cursor, staged, loss, .. } in self.rings.iter_mut().filter(|ring| ring.cursor.is_adrift())
        {
            let mut stage = Stage::new(&*slots, staged, loss);
            cursor.locate(ring, |slot, page| stage.keep(slot, page), || reset_whole(&*slots))?;
        }
        self.out_of_step = false;
        Ok(())
    }

    /// Protects every page again after a loss. No vCPU runs.
    fn protect_after_loss(&mut self) -> Result<()> {
        if self.unprotected {
            lock(&self.slots).protect_all()?;
            self.unprotected = false;
        }
        Ok(())
    }

    /// As [`harvest`](Self::harvest), while no vCPU runs. Afterwards the rings are empty, and in step with the kernel as far as can be
    /// known. Every page is protected, also those whose entries were lost.
    ///
    /// # Errors
    ///
    /// Those of [`harvest`](Self::harvest), and the kernel's refusal to protect all pages, which the next stopped harvest tries again.
    pub fn harvest_stopped(&mut self) -> Result<Harvested> {
        let mut all = Harvested::default();
        for _ in 0..MOST_REPETITIONS {
            self.locate()?;
            let harvested = self.harvest_while(true)?;
            all = Harvested { most: all.most.max(harvested.most), ..harvested };
            if !harvested.in_step {
                continue;
            }
            for VcpuRing { ring, cursor, .. } in &mut self.rings {
                cursor.verify(ring);
            }
            let mut freed = 0;
            for VcpuRing { ring, cursor, loss, .. } in &mut self.rings {
                let entries = cursor.free(ring);
                loss.lost += u64::from(entries);
                freed += entries;
            }
            self.unprotected |= freed > 0;
            if freed == 0 && harvested.most < self.rings.iter().map(|ring| ring.ring.size()).max().unwrap_or(0) {
                break;
            }
        }
        if !all.in_step {
            self.may_have_lost();
        }
        self.protect_after_loss()?;
        self.stale = false;
        Ok(all)
    }

    /// A vCPU that is not attached has run: what it wrote is in a ring that nobody harvests.
    pub fn saw_stranger(&mut self) {
        self.stranger = true;
    }

    /// Closes the window: what was harvested is ready to be fetched, and nothing of the next one gets among it.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`]; the window stays open.
    pub fn close_window(&mut self) -> Result<()> {
        self.rings.iter_mut().try_for_each(|ring| ring.ready.reserve(&ring.staged))?;
        for ring in &mut self.rings {
            ring.ready.take(&mut ring.staged);
            let loss = std::mem::take(&mut ring.loss);
            ring.reported |= loss.maybe_lost;
            ring.ready_loss.add(&loss);
        }
        Ok(())
    }

    /// A block's log went off: what the rings still have of it must be out before the number of its slot stands for a block again.
    pub fn log_went_off(&mut self) {
        self.stale = true;
    }

    /// Takes out what the rings have of a block whose log went off; whether that could be done while the vCPUs run.
    ///
    /// # Errors
    ///
    /// Those of [`harvest`](Self::harvest).
    pub fn take_out_stale(&mut self) -> Result<bool> {
        if self.stale {
            let harvested = self.harvest()?;
            self.stale = !harvested.in_step || harvested.overrun;
        }
        Ok(!self.stale)
    }

    /// Sets the bits of what was written of a block in the closed window, by whichever vCPU.
    pub fn set_in(&self, block: BlockId, words: &mut [u64]) {
        for ready in self.rings.iter().filter_map(|ring| ring.ready.of(block)) {
            ready.pages.set_in(words);
        }
    }

    /// How many vCPUs have rings.
    pub fn vcpus(&self) -> usize {
        self.rings.len()
    }

    /// Shows what each vCPU wrote of a block in the closed window.
    pub fn visit(&self, block: BlockId, visit: &mut dyn FnMut(usize, &VcpuPages) -> Result<()>) -> Result<()> {
        let ready = self.rings.iter().enumerate().filter_map(|(vcpu, ring)| Some((vcpu, ring.ready.of(block)?)));
        ready.filter(|(_, ready)| ready.entries > 0).try_for_each(|(vcpu, ready)| visit(vcpu, ready))
    }

    /// Forgets what was written of a block in the closed window.
    pub fn forget_ready(&mut self, block: BlockId) {
        for ring in &mut self.rings {
            ring.ready.clear(block);
        }
    }

    /// Forgets all that was harvested of a block.
    pub fn forget(&mut self, block: BlockId) {
        for ring in &mut self.rings {
            ring.staged.remove(block);
            ring.ready.remove(block);
        }
    }

    /// Takes what the rings lost in the closed window.
    pub fn take_loss(&mut self) -> RingLoss {
        let mut all = RingLoss { maybe_lost: std::mem::take(&mut self.stranger), ..RingLoss::default() };
        self.rings.iter_mut().for_each(|ring| all.add(&std::mem::take(&mut ring.ready_loss)));
        all
    }
}
