//! The place of a reader in a dirty ring, as pure arithmetic without a kernel.
//!
//! The kernel counts entries up for ever, as `u32`: it writes entry `i` at position `i % size`, and forgets entries up
//! to its reset index when it is told to (Documentation/virt/kvm/api.rst, 8.29). It does not show its indices. If a
//! vCPU is emulated, it can run on past the ring's end and overwrite entries that nobody has harvested. The reader
//! takes these positions for the entries that it expects, and is out of step afterwards: the kernel goes on at a
//! position where the reader does not look, and reports a full ring in which the reader finds nothing.
//!
//! Entries are written in order, so a reader that is in step never finds an empty position before a dirty one. When
//! there is a reason, and while no vCPU writes, [`Cursor`] looks for such empty positions: they are entries that were
//! written over. It marks them as harvested, and the kernel waits for nothing else. If an overrun is as long as the
//! whole ring or longer, no position is dirty, and the kernel stops every vCPU. Then [`Cursor::free`] hands back as
//! many entries as a full ring must have.
//!
//! All of this needs the kernel's reset index. If entries are handed back at another position, the kernel never resets
//! them, or its index passes the last entry that was written, and the ring is full for ever. RESET returns one count
//! for all rings together. In a ring where a vCPU came round and wrote over entries that were handed back, RESET stops
//! early. So after an unexpected count the place in every ring is in doubt. Such a ring is
//! [adrift](Cursor::lose_place), and is left alone until the vCPUs are stopped and [`Cursor::locate`] has found the
//! index.

use crate::error::Result;

/// The state of a position, as its flags say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// There is nothing to harvest.
    Empty,
    /// The entry was written, and not yet harvested.
    Dirty,
    /// The entry was harvested, and not yet reset.
    Harvested,
}

/// The positions of a ring, which the kernel and the reader share.
pub trait Entries {
    /// How many positions there are: a power of two.
    fn size(&self) -> u32;
    /// With how many entries the kernel says that the ring is full.
    fn full(&self) -> u32;
    /// The state of a position. If it is dirty, the entry there can be read.
    fn state(&self, position: u32) -> EntryState;
    /// The slot and the page that the entry at a dirty position names.
    fn read(&self, position: u32) -> (u32, u64);
    /// Hands a position back to the kernel.
    fn mark_harvested(&mut self, position: u32);
}

/// The result of a harvest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Harvest {
    /// Entries that were read.
    pub entries: u32,
    /// Entries that the kernel had written over before they were read.
    pub lost: u32,
    /// The whole ring was read, so there may have been more entries, which were written over.
    pub at_limit: bool,
}

/// Whether every position is empty.
fn is_empty(entries: &impl Entries) -> bool {
    (0..entries.size()).all(|at| entries.state(at) == EntryState::Empty)
}

/// What is known of a reader's place in a ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// The reader is in step with the kernel.
    #[default]
    InStep,
    /// Entries may have been written over, so the reader has to look.
    Suspect,
    /// As [`Suspect`](Self::Suspect), but all positions were empty when the reader was here, so the position of the
    /// next entry will show where the kernel is.
    Verified,
    /// The kernel's reset index is not known.
    Adrift,
}

/// A reader's place in a ring.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// The kernel's reset index; when adrift, the least that it can be.
    reset: u32,
    /// The entry to read next; when adrift, the most that the kernel's reset index can be.
    next: u32,
    place: Place,
    /// The kernel said that the ring is full, and nothing was found in it since.
    full: bool,
    /// How often in a row the kernel said so while no vCPU wrote and nothing was found.
    starved: u32,
}

impl Cursor {
    /// A place at the entry `index` of an empty ring.
    pub fn at(index: u32) -> Self {
        Self { reset: index, next: index, ..Self::default() }
    }

    /// Reads all entries, at most as many as the ring holds. `take` gets the slot and the page of each entry; if it
    /// fails, the entry stays in the ring and the harvest ends. While a vCPU may write, an empty position may be an
    /// entry that is just being written, so gaps are looked for only if the vCPUs are `stopped`.
    pub fn harvest(
        &mut self,
        entries: &mut impl Entries,
        stopped: bool,
        mut take: impl FnMut(u32, u64) -> bool,
    ) -> Harvest {
        let mut harvest = Harvest::default();
        if self.place == Place::Adrift {
            return harvest;
        }
        let size = entries.size();
        let mask = size - 1;
        // There is an entry here and none just before, and all positions were empty: so the kernel began to write here.
        // If it had begun elsewhere, it would have written the position just before this one first.
        if self.place == Place::Verified
            && entries.state(self.next & mask) == EntryState::Dirty
            && entries.state(self.next.wrapping_sub(1) & mask) == EntryState::Empty
        {
            self.place = Place::InStep;
        }
        while self.unreset() < size {
            match entries.state(self.next & mask) {
                EntryState::Dirty => {
                    let (slot, page) = entries.read(self.next & mask);
                    if !take(slot, page) {
                        // If the ring was overrun, the entries that are reset now hide how far the kernel was.
                        self.place = Place::Suspect;
                        break;
                    }
                    entries.mark_harvested(self.next & mask);
                    self.next = self.next.wrapping_add(1);
                    harvest.entries += 1;
                }
                // This entry was harvested before, but the last RESET did not come this far.
                EntryState::Harvested => self.next = self.next.wrapping_add(1),
                EntryState::Empty => {
                    if !stopped {
                        break;
                    }
                    let Some(gap) = self.gap(entries) else { break };
                    for _ in 0..gap {
                        entries.mark_harvested(self.next & mask);
                        self.next = self.next.wrapping_add(1);
                    }
                    harvest.lost += gap;
                }
            }
        }
        if self.unreset() == size {
            // The ring was completely full, so there may have been more entries.
            self.suspect();
            harvest.at_limit = true;
        }
        if harvest.entries > 0 {
            (self.full, self.starved) = (false, 0);
            if self.place == Place::Verified {
                self.place = Place::Suspect;
            }
        }
        harvest
    }

    /// Frees a ring of which the kernel said twice that it is full, although there is nothing in it. That is an overrun
    /// of about a whole ring, whose entries were read as if they were in step. No vCPU can write. This hands back as
    /// many entries as the kernel must count in a full ring. Returns how many these were, which can be 0.
    pub fn free(&mut self, entries: &mut impl Entries) -> u32 {
        if !std::mem::take(&mut self.full) {
            return 0;
        }
        // If the kernel says it once, the ring may have been full before the last harvest. If it says it twice, the
        // vCPU entered the guest in between.
        self.starved += 1;
        let empty = self.unreset() == 0 && is_empty(entries);
        if self.starved < 2 || !empty {
            return 0;
        }
        let full = entries.full();
        for _ in 0..full {
            entries.mark_harvested(self.next & (entries.size() - 1));
            self.next = self.next.wrapping_add(1);
        }
        (self.place, self.starved) = (Place::Suspect, 0);
        full
    }

    /// Whether the entry that lies `ahead` entries after the next one is dirty. If it is, all entries before it were
    /// written, because entries are written in order.
    pub fn is_dirty_at(&self, entries: &impl Entries, ahead: u32) -> bool {
        entries.state(self.next.wrapping_add(ahead) & (entries.size() - 1)) == EntryState::Dirty
    }

    /// Notes that no vCPU writes and that RESET returned the expected count. If all positions are empty, the next entry
    /// will show where the kernel is.
    pub fn verify(&mut self, entries: &impl Entries) {
        if self.place == Place::Suspect && is_empty(entries) {
            self.place = Place::Verified;
        }
    }

    /// Whether entries of the ring may have been written over, or the place in it is not known.
    pub fn is_suspect(&self) -> bool {
        self.place != Place::InStep
    }

    /// Whether a harvest with stopped vCPUs is needed. It is not needed if all positions were empty and still are,
    /// however long it takes until the next entry shows where the kernel is.
    pub fn wants_stop(&self, entries: &impl Entries) -> bool {
        match self.place {
            Place::InStep => false,
            Place::Suspect | Place::Adrift => true,
            Place::Verified => !is_empty(entries),
        }
    }

    /// The number of empty positions before the first position that is not empty, if there is a reason to look.
    fn gap(&self, entries: &impl Entries) -> Option<u32> {
        if self.place == Place::InStep {
            return None;
        }
        let left = entries.size() - self.unreset();
        (1..left)
            .find(|ahead| entries.state(self.next.wrapping_add(*ahead) & (entries.size() - 1)) != EntryState::Empty)
    }

    /// How many entries the next RESET should count for this ring; 0 for a ring that is adrift.
    pub fn unreset(&self) -> u32 {
        if self.is_adrift() { 0 } else { self.next.wrapping_sub(self.reset) }
    }

    /// Notes that RESET returned the expected count. A ring that is adrift keeps its indices, because none of its
    /// entries was counted. The kernel's place in that ring lies between these indices and still has to be found.
    pub fn was_reset(&mut self) {
        if !self.is_adrift() {
            self.reset = self.next;
        }
    }

    /// Notes that RESET returned another count than expected. In this ring or in another one it stopped before the last
    /// entry that was handed back.
    pub fn lose_place(&mut self) {
        if self.unreset() > 0 {
            self.place = Place::Adrift;
        }
    }

    /// Whether the kernel's reset index is unknown.
    pub fn is_adrift(&self) -> bool {
        self.place == Place::Adrift
    }

    /// Finds the kernel's reset index. No vCPU may write meanwhile, and no ring may have an entry that RESET would
    /// take. This hands back the dirty entries at the positions where the index can be, one after the other, until
    /// RESET takes one. These entries were written over entries that had been handed back.
    ///
    /// # Errors
    ///
    /// Those of `take` and of `reset`; the ring is still adrift.
    pub fn locate(
        &mut self,
        entries: &mut impl Entries,
        mut take: impl FnMut(u32, u64) -> Result<()>,
        mut reset: impl FnMut() -> Result<u32>,
    ) -> Result<()> {
        let mask = entries.size() - 1;
        let mut at = self.reset;
        while at != self.next {
            let state = entries.state(at & mask);
            if state == EntryState::Dirty {
                let (slot, page) = entries.read(at & mask);
                take(slot, page)?;
                entries.mark_harvested(at & mask);
            }
            let taken = if state == EntryState::Empty { 0 } else { reset()? };
            if taken > 0 {
                at = at.wrapping_add(taken);
                break;
            }
            at = at.wrapping_add(1);
        }
        *self = Self { reset: at, next: at, place: Place::Suspect, ..*self };
        Ok(())
    }

    /// Notes that the kernel says that the ring is full. If there is nothing to harvest all the same, entries were
    /// written over.
    pub fn is_full(&mut self) {
        self.suspect();
        self.full = true;
    }

    /// Notes that entries may have been written over.
    fn suspect(&mut self) {
        if self.place == Place::InStep {
            self.place = Place::Suspect;
        }
    }
}
