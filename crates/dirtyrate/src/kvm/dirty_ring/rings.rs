//! All rings of a VM: harvest, RESET, and what was harvested and not fetched yet.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

use super::RESERVED_ENTRIES;
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
    /// Of the window that is open.
    staged: BTreeMap<BlockId, VcpuPages>,
    loss: RingLoss,
    /// Of the window that was closed last, until it is fetched.
    ready: BTreeMap<BlockId, VcpuPages>,
    ready_loss: RingLoss,
    /// What may be missing was said with the window that was closed: what is found of it later is not lost twice.
    told: bool,
}

/// How full the rings were, and whether the kernel agrees on what was taken out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Harvested {
    /// The most entries that one ring had.
    pub most: u32,
    /// RESET counted what was harvested.
    pub in_step: bool,
    /// A ring may have been overrun: only a stopped harvest can tell.
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
        self.rings.push(VcpuRing {
            ring,
            cursor,
            staged: BTreeMap::new(),
            loss: RingLoss::default(),
            ready: BTreeMap::new(),
            ready_loss: RingLoss::default(),
            told: false,
        });
        Ok(())
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
    pub fn harvest(&mut self) -> Result<Harvested> {
        self.harvest_while(false)
    }

    fn harvest_while(&mut self, stopped: bool) -> Result<Harvested> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut harvested = Harvested::default();
        for VcpuRing { ring, cursor, staged, loss, told, .. } in &mut self.rings {
            let harvest = cursor.harvest(ring, stopped, |slot, page| match slots.logged(slot, page) {
                Some(block) => {
                    let vcpu = staged.entry(block).or_default();
                    vcpu.pages.insert(page);
                    vcpu.entries += 1;
                }
                None => loss.dropped += 1,
            });
            if *told {
                loss.lost_before += u64::from(harvest.lost);
            } else {
                loss.lost += u64::from(harvest.lost);
            }
            loss.maybe_lost |= harvest.at_limit;
            *told &= cursor.is_suspect() && !harvest.at_limit;
            harvested.overrun |= cursor.is_suspect();
            harvested.most = harvested.most.max(harvest.entries);
        }
        let expected: u64 = self.rings.iter().map(|ring| u64::from(ring.cursor.unreset())).sum();
        harvested.in_step = expected == 0 || u64::from(reset_dirty_rings(&**slots.vm())?) == expected;
        if harvested.in_step {
            self.rings.iter_mut().for_each(|ring| ring.cursor.was_reset());
        }
        Ok(harvested)
    }

    /// The same while no vCPU runs: afterwards the rings are empty, and in step with the kernel as far as can be known.
    pub fn harvest_stopped(&mut self) -> Result<Harvested> {
        let mut all = Harvested::default();
        for _ in 0..MOST_REPETITIONS {
            let harvested = self.harvest_while(true)?;
            all = Harvested { most: all.most.max(harvested.most), ..harvested };
            if !harvested.in_step {
                for ring in self.rings.iter_mut().filter(|ring| ring.cursor.unreset() > 0) {
                    ring.cursor.resynchronise(&ring.ring);
                    ring.loss.maybe_lost = true;
                }
                continue;
            }
            for VcpuRing { ring, cursor, .. } in &mut self.rings {
                cursor.verify(ring);
            }
            let mut freed = 0;
            for VcpuRing { ring, cursor, loss, .. } in &mut self.rings {
                let full = ring.size() - RESERVED_ENTRIES;
                let entries = cursor.free(ring, full);
                loss.lost += u64::from(entries);
                freed += entries;
            }
            if freed == 0 && harvested.most < self.rings.iter().map(|ring| ring.ring.size()).max().unwrap_or(0) {
                break;
            }
        }
        if !all.in_step {
            self.rings.iter_mut().for_each(|ring| ring.loss.maybe_lost = true);
        }
        Ok(all)
    }

    /// Closes the window: what was harvested is ready to be fetched, and nothing of the next one gets among it.
    pub fn close_window(&mut self) {
        for ring in &mut self.rings {
            for (block, staged) in std::mem::take(&mut ring.staged) {
                let ready = ring.ready.entry(block).or_default();
                ready.pages.merge(&staged.pages);
                ready.entries += staged.entries;
            }
            let loss = std::mem::take(&mut ring.loss);
            ring.told |= loss.maybe_lost;
            ring.ready_loss.add(&loss);
        }
    }

    /// Whether any block is logged: without one the kernel writes no entry.
    pub fn is_logging(&self) -> bool {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).any_logged()
    }

    /// Sets the bits of what was written of a block in the closed window, by whichever vCPU.
    pub fn set_in(&self, block: BlockId, words: &mut [u64]) {
        for ready in self.rings.iter().filter_map(|ring| ring.ready.get(&block)) {
            ready.pages.set_in(words);
        }
    }

    /// Takes what each vCPU wrote of a block in the closed window.
    pub fn take(&mut self, block: BlockId) -> Vec<VcpuPages> {
        self.rings.iter_mut().map(|ring| ring.ready.remove(&block).unwrap_or_default()).collect()
    }

    /// Forgets what was harvested of a block.
    pub fn forget(&mut self, block: BlockId) {
        for ring in &mut self.rings {
            ring.staged.remove(&block);
            ring.ready.remove(&block);
        }
    }

    /// Takes what each vCPU's ring lost in the closed window.
    pub fn take_loss(&mut self) -> Vec<RingLoss> {
        self.rings.iter_mut().map(|ring| std::mem::take(&mut ring.ready_loss)).collect()
    }
}
