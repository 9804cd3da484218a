//! All rings of a VM: how they are harvested and reset, and the pages that were harvested and not fetched yet.

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

/// How often the harvest of a ring is repeated, while no vCPU writes, until the ring is in step. Each repetition either
/// comes to the end of the entries that an overrun left, or finds nothing more to do.
const MOST_REPETITIONS: u32 = 8;

struct VcpuRing<E> {
    ring: E,
    cursor: Cursor,
    /// What the ring reported in the current window.
    staged: Written,
    loss: RingLoss,
    /// What the ring reported in the last closed window, until this is fetched.
    ready: Written,
    ready_loss: RingLoss,
    /// Whether a possible loss was reported with the last closed window, so that it is not reported again when it is
    /// found.
    reported: bool,
}

/// How full the rings were, and whether RESET agreed with the harvest.
#[derive(Debug, Clone, Copy, Default)]
pub struct Harvested {
    /// The most entries that one ring had.
    pub most: u32,
    /// Whether RESET counted as many entries as were harvested.
    pub in_step: bool,
    /// Whether a ring may have been overrun. Only a harvest with stopped vCPUs can find out.
    pub overrun: bool,
}

/// Repeats RESET until it takes no more entries, because RESET can end early, even before the first entry.
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
    /// Whether a RESET returned an unexpected count, and no stopped harvest has found the place in every ring since.
    out_of_step: bool,
    /// Whether entries were lost, or may be lost, and not every page was protected again since then. The page of a lost
    /// entry is not protected, because RESET did not get this entry, so no ring sees a write to this page.
    unprotected: bool,
    /// Whether a block's log was turned off, and no harvest has taken this block's entries out of the rings since.
    stale: bool,
    /// Whether a vCPU that is not attached has run in the current window.
    stranger: bool,
}

impl Rings {
    /// Maps the ring of the next vCPU. Returns the number of the vCPU.
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

    /// Adds the ring of the next vCPU, whose indices are both at `index`.
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

    /// Notes that a vCPU left KVM_RUN because its ring is full.
    pub fn is_full(&mut self, vcpu: usize) {
        if let Some(ring) = self.rings.get_mut(vcpu) {
            ring.cursor.is_full();
        }
    }

    /// Whether a vCPU's ring has more than `entries` entries.
    pub fn has_passed(&self, vcpu: usize, entries: u32) -> bool {
        self.rings.get(vcpu).is_some_and(|ring| ring.cursor.is_dirty_at(&ring.ring, entries))
    }

    /// Takes all entries out of the rings, and lets the kernel protect their pages again. The vCPUs may run meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], or the kernel's error. The remaining entries stay in the rings.
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

    /// Notes that writes may be missing from the current window.
    fn may_have_lost(&mut self) {
        self.rings.iter_mut().for_each(|ring| ring.loss.maybe_lost = true);
    }

    /// Finds the kernel's place in each ring in which it is not known. No vCPU may run meanwhile.
    ///
    /// There are two possible reasons why a RESET counted too few entries: a vCPU came round and wrote over entries
    /// that had been handed back, or RESET ended early ([`reset_dirty_rings`]). Both leave pages unprotected, and no
    /// ring sees writes to these pages until all pages are protected again.
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

    /// Protects every page again after a loss. No vCPU may run meanwhile.
    fn protect_after_loss(&mut self) -> Result<()> {
        if self.unprotected {
            lock(&self.slots).protect_all()?;
            self.unprotected = false;
        }
        Ok(())
    }

    /// Does what [`harvest`](Self::harvest) does, while no vCPU runs. Afterwards the rings are empty, and in step with
    /// the kernel as far as can be known. Every page is protected, also the pages whose entries were lost.
    ///
    /// # Errors
    ///
    /// Those of [`harvest`](Self::harvest), and the kernel's error when all pages should be protected. The next stopped
    /// harvest tries this again.
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

    /// Notes that a vCPU has run that is not attached, so that its ring is not harvested.
    pub fn saw_stranger(&mut self) {
        self.stranger = true;
    }

    /// Closes the current window. What was harvested in it can be fetched now, and later entries belong to the next
    /// window.
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

    /// Notes that a block's log was turned off. The block's entries must be taken out of the rings before the number of
    /// its slot is used again.
    pub fn log_went_off(&mut self) {
        self.stale = true;
    }

    /// Takes the entries of blocks whose log was turned off out of the rings. Returns whether this was possible while
    /// the vCPUs run.
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

    /// Sets the bits of all pages of a block that any vCPU wrote in the closed window.
    pub fn set_in(&self, block: BlockId, words: &mut [u64]) {
        for ready in self.rings.iter().filter_map(|ring| ring.ready.of(block)) {
            ready.pages.set_in(words);
        }
    }

    /// How many vCPUs have rings.
    pub fn vcpus(&self) -> usize {
        self.rings.len()
    }

    /// Calls `visit` for each vCPU with what it wrote of a block in the closed window.
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

    /// Returns what the rings lost in the closed window, and forgets it.
    pub fn take_loss(&mut self) -> RingLoss {
        let mut all = RingLoss { maybe_lost: std::mem::take(&mut self.stranger), ..RingLoss::default() };
        self.rings.iter_mut().for_each(|ring| all.add(&std::mem::take(&mut ring.ready_loss)));
        all
    }
}
