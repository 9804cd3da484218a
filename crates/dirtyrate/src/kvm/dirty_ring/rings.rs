//! All rings of a VM: harvest, RESET, and what was harvested and not fetched yet.

use std::os::fd::AsRawFd;
use std::sync::Arc;

use super::cursor::{Cursor, Entries};
use super::mapped::MappedRing;
use crate::dirty_memory::{BlockId, RingLoss, VcpuPages};
use crate::error::{Error, Result};
use crate::kvm::Slots;
use crate::kvm::ioctls::reset_dirty_rings;
use crate::sync::{Mutex, lock};

/// How often a harvest of a ring that nobody writes to is repeated until it is in step. Each repetition either comes to the
/// end of what an overrun left or finds nothing more to do.
const MOST_REPETITIONS: u32 = 8;

struct VcpuRing<E> {
    ring: E,
    cursor: Cursor,
    /// Of the window that is open.
    staged: Written,
    loss: RingLoss,
    /// Of the window that was closed last, until it is fetched.
    ready: Written,
    ready_loss: RingLoss,
    /// What may be missing was said with the window that was closed: what is found of it later is not lost twice.
    told: bool,
}

/// What one vCPU wrote, block by block: there are few.
#[derive(Default)]
struct Written(Vec<(BlockId, VcpuPages)>);

impl Written {
    fn of(&self, block: BlockId) -> Option<&VcpuPages> {
        self.0.iter().find(|(of, _)| *of == block).map(|(_, written)| written)
    }

    fn of_mut(&mut self, block: BlockId) -> Result<&mut VcpuPages> {
        let at = match self.0.iter().position(|(of, _)| *of == block) {
            Some(at) => at,
            None => {
                let bytes = size_of::<(BlockId, VcpuPages)>();
                self.0.try_reserve(1).map_err(|_| Error::OutOfMemory { what: "a block of a dirty ring", bytes })?;
                self.0.push((block, VcpuPages::default()));
                self.0.len() - 1
            }
        };
        Ok(&mut self.0[at].1)
    }

    fn insert(&mut self, block: BlockId, page: u64) -> Result<()> {
        let written = self.of_mut(block)?;
        written.pages.try_insert(page)?;
        written.entries += 1;
        Ok(())
    }

    /// Makes room for another's, so that taking it cannot fail.
    fn reserve(&mut self, other: &Self) -> Result<()> {
        other.0.iter().try_for_each(|(block, theirs)| {
            let ours = self.of_mut(*block)?;
            // What is empty is exchanged.
            if ours.entries > 0 { ours.reserve(theirs) } else { Ok(()) }
        })
    }

    /// Takes all of another's, for which there is room, and leaves it empty.
    fn take(&mut self, other: &mut Self) {
        for (block, ours) in &mut self.0 {
            let Some((_, theirs)) = other.0.iter_mut().find(|(of, _)| of == block) else { continue };
            if ours.entries > 0 {
                ours.add(theirs);
                theirs.clear();
            } else {
                std::mem::swap(ours, theirs);
            }
        }
    }

    fn remove(&mut self, block: BlockId) {
        self.0.retain(|(of, _)| *of != block);
    }
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

/// What the rings ask of their VM.
pub trait RingVm: Send {
    /// The block of a slot that is logged and has that page.
    fn logged(&self, slot: u32, page: u64) -> Option<BlockId>;
    /// Whether any block is logged.
    fn any_logged(&self) -> bool;
    /// Takes back what was harvested of all rings, and protects those pages again; how many entries that were. Where that is less than
    /// it should be, it may have ended early, with pages among them that are not protected.
    fn reset(&self) -> Result<u32>;
    /// Protects every page that is logged again. No vCPU runs.
    fn protect_all(&self) -> Result<()>;
}

impl RingVm for Slots {
    fn logged(&self, slot: u32, page: u64) -> Option<BlockId> {
        self.logged(slot, page)
    }

    fn any_logged(&self) -> bool {
        self.any_logged()
    }

    fn reset(&self) -> Result<u32> {
        reset_dirty_rings(&**self.vm())
    }

    fn protect_all(&self) -> Result<()> {
        self.restart_logging()
    }
}

/// Keeps what an entry says: a page that its vCPU wrote in the window that is open.
fn stage(vm: &impl RingVm, staged: &mut Written, loss: &mut RingLoss, slot: u32, page: u64) -> Result<()> {
    match vm.logged(slot, page) {
        Some(block) => staged.insert(block, page)?,
        None => loss.dropped += 1,
    }
    Ok(())
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

pub struct Rings<E = MappedRing, V = Slots> {
    slots: Arc<Mutex<V>>,
    rings: Vec<VcpuRing<E>>,
    /// A RESET counted less than it should have, and all pages have not been protected again since.
    unprotected: bool,
}

impl Rings {
    /// Maps the ring of the next vCPU.
    pub fn attach(&mut self, vcpu: &impl AsRawFd, size: u32) -> Result<()> {
        self.push(MappedRing::new(vcpu, size)?, 0);
        Ok(())
    }
}

impl<E: Entries, V: RingVm> Rings<E, V> {
    pub fn new(slots: Arc<Mutex<V>>) -> Self {
        Self { slots, rings: Vec::new(), unprotected: false }
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
            told: false,
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
        for VcpuRing { ring, cursor, staged, loss, told, .. } in &mut self.rings {
            let mut refused = Ok(());
            let harvest = cursor.harvest(ring, stopped, |slot, page| {
                refused = stage(&*slots, staged, loss, slot, page);
                refused.is_ok()
            });
            taken = taken.and(refused);
            if *told {
                loss.lost_before += u64::from(harvest.lost);
            } else {
                loss.lost += u64::from(harvest.lost);
            }
            loss.maybe_lost |= harvest.at_limit;
            *told &= cursor.is_suspect() && !harvest.at_limit;
            harvested.overrun |= cursor.wants_stop(ring);
            harvested.most = harvested.most.max(harvest.entries);
        }
        let expected: u64 = self.rings.iter().map(|ring| u64::from(ring.cursor.unreset())).sum();
        harvested.in_step = expected == 0 || u64::from(slots.reset()?) == expected;
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

    fn may_have_lost(&mut self) {
        self.rings.iter_mut().for_each(|ring| ring.loss.maybe_lost = true);
    }

    /// Finds where the kernel stands in the rings of which that is not known. No vCPU runs.
    ///
    /// That a RESET counted less than it should have has two reasons: a vCPU came round and wrote over what had been handed back, or it
    /// ended early ([`reset_dirty_rings`]) and has left pages unprotected, whose writes are seen by nobody until all are protected again.
    fn locate(&mut self) -> Result<()> {
        if !self.unprotected {
            return Ok(());
        }
        self.may_have_lost();
        let slots = lock(&self.slots);
        reset_whole(&*slots)?;
        for VcpuRing { ring, cursor, staged, loss, .. } in self.rings.iter_mut().filter(|ring| ring.cursor.is_adrift())
        {
            let take = |slot, page| stage(&*slots, staged, loss, slot, page);
            cursor.locate(ring, take, || reset_whole(&*slots))?;
        }
        slots.protect_all()?;
        self.unprotected = false;
        Ok(())
    }

    /// The same while no vCPU runs: afterwards the rings are empty, and in step with the kernel as far as can be known.
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
            if freed == 0 && harvested.most < self.rings.iter().map(|ring| ring.ring.size()).max().unwrap_or(0) {
                break;
            }
        }
        if !all.in_step {
            self.may_have_lost();
        }
        Ok(all)
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
            ring.told |= loss.maybe_lost;
            ring.ready_loss.add(&loss);
        }
        Ok(())
    }

    /// Whether any block is logged: without one the kernel writes no entry.
    pub fn is_logging(&self) -> bool {
        lock(&self.slots).any_logged()
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
            if let Some((_, ready)) = ring.ready.0.iter_mut().find(|(of, _)| *of == block) {
                ready.clear();
            }
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
        self.rings.iter_mut().map(|ring| std::mem::take(&mut ring.ready_loss)).fold(
            RingLoss::default(),
            |mut all, loss| {
                all.add(&loss);
                all
            },
        )
    }
}
