//! All rings of a VM: harvest, RESET, and what was harvested and not fetched yet.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::cursor::{Cursor, Entries};
use super::mapped::MappedRing;
use crate::dirty_memory::{BlockId, RingLoss, VcpuPages};
use crate::error::Result;
use crate::kvm::Slots;
use crate::kvm::ioctls::reset_dirty_rings;

/// How often a harvest of a ring that nobody writes to is repeated until it is in step. Each repetition either comes to the
/// end of what an overrun left or finds nothing more to do.
const MOST_REPETITIONS: u32 = 8;

struct VcpuRing {
    ring: MappedRing,
    cursor: Cursor,
    staged: BTreeMap<BlockId, VcpuPages>,
    loss: RingLoss,
}

/// How full the rings were, and whether the kernel agrees on what was taken out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Harvested {
    /// The most entries that one ring had.
    pub most: u32,
    /// RESET counted what was harvested.
    pub in_step: bool,
    /// Something was lost, or may have been.
    pub overrun: bool,
}

pub(super) struct Rings {
    slots: Arc<Mutex<Slots>>,
    rings: Vec<VcpuRing>,
}

impl Rings {
    pub fn new(slots: Arc<Mutex<Slots>>) -> Self {
        Self { slots, rings: Vec::new() }
    }

    /// Maps the ring of the next vCPU.
    pub fn attach(&mut self, vcpu: &impl AsRawFd, size: u32) -> Result<()> {
        let ring = MappedRing::new(vcpu, size)?;
        let cursor = Cursor::default();
        self.rings.push(VcpuRing { ring, cursor, staged: BTreeMap::new(), loss: RingLoss::default() });
        Ok(())
    }

    /// A vCPU left because its ring is full.
    pub fn is_full(&mut self, vcpu: usize) {
        if let Some(ring) = self.rings.get_mut(vcpu) {
            ring.cursor.is_full();
        }
    }

    /// Takes out what is in the rings, and has its pages protected again. The vCPUs may run.
    pub fn harvest(&mut self) -> Result<Harvested> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut harvested = Harvested::default();
        for VcpuRing { ring, cursor, staged, loss } in &mut self.rings {
            let harvest = cursor.harvest(ring, |slot, page| match slots.logged(slot, page) {
                Some(block) => {
                    let vcpu = staged.entry(block).or_default();
                    vcpu.pages.insert(page);
                    vcpu.entries += 1;
                }
                None => loss.dropped += 1,
            });
            loss.lost += u64::from(harvest.lost);
            harvested.overrun |= harvest.lost > 0;
            harvested.most = harvested.most.max(harvest.entries);
        }
        let expected: u64 = self.rings.iter().map(|ring| u64::from(ring.cursor.unreset())).sum();
        harvested.in_step = expected == 0 || u64::from(reset_dirty_rings(&**slots.vm())?) == expected;
        if harvested.in_step {
            self.rings.iter_mut().for_each(|ring| ring.cursor.was_reset());
        }
        Ok(harvested)
    }

    /// The same while no vCPU runs: afterwards the rings are empty, and in step with the kernel.
    pub fn harvest_stopped(&mut self) -> Result<Harvested> {
        let mut all = Harvested { in_step: true, ..Harvested::default() };
        for _ in 0..MOST_REPETITIONS {
            let harvested = self.harvest()?;
            all.most = all.most.max(harvested.most);
            all.overrun |= harvested.overrun;
            if !harvested.in_step {
                all.overrun = true;
                for ring in &mut self.rings {
                    if ring.cursor.unreset() > 0 {
                        ring.cursor.resynchronise(&ring.ring);
                    }
                }
            } else if harvested.most < self.rings.iter().map(|ring| ring.ring.size()).max().unwrap_or(0) {
                break;
            }
        }
        Ok(all)
    }

    /// Whether any block is logged: without one the kernel writes no entry.
    pub fn is_logging(&self) -> bool {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).any_logged()
    }

    /// Sets the bits of what was harvested of a block, by whichever vCPU.
    pub fn set_in(&self, block: BlockId, words: &mut [u64]) {
        for staged in self.rings.iter().filter_map(|ring| ring.staged.get(&block)) {
            staged.pages.set_in(words);
        }
    }

    /// Takes what each vCPU wrote of a block.
    pub fn take(&mut self, block: BlockId) -> Vec<VcpuPages> {
        self.rings.iter_mut().map(|ring| ring.staged.remove(&block).unwrap_or_default()).collect()
    }

    /// Forgets what was harvested of a block.
    pub fn forget(&mut self, block: BlockId) {
        self.rings.iter_mut().for_each(|ring| drop(ring.staged.remove(&block)));
    }

    /// Takes what each vCPU's ring lost since the last call.
    pub fn take_loss(&mut self) -> Vec<RingLoss> {
        self.rings.iter_mut().map(|ring| std::mem::take(&mut ring.loss)).collect()
    }
}
