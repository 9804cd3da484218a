//! Where a reader stands in a dirty ring, apart from any kernel.
//!
//! The kernel counts entries up for ever, as `u32`: it writes entry `i` at position `i % size`, and forgets entries up to its
//! reset index when it is told to (Documentation/virt/kvm/api.rst, 8.29). It does not show its indices. A vCPU that is
//! emulated can write past the ring's end before it leaves, over entries that nobody harvested; and as the reader takes those
//! positions for the entries that it expects, it is out of step afterwards: the kernel goes on where the reader does not look,
//! and reports a full ring in which there is nothing to harvest.
//!
//! Entries are written in order, so in step there is never an empty position before a dirty one. [`Cursor`] looks for that
//! while nobody writes, whenever it has reason to: the empty positions are entries that were written over. It hands them back
//! as harvested, which is all that the kernel waits for. An overrun can be of a whole ring and more; then nothing is dirty, and
//! the kernel lets nobody write: [`Cursor::free`] hands back as many entries as a full ring must have.
//!
//! All of that needs the kernel's reset index: handed back from elsewhere, entries are never reset, or the index passes what was
//! written, and the ring is full for ever. RESET counts the entries of all rings together, and stops in each where a vCPU came
//! round and wrote over what was handed back, so a count that is not what it should be leaves the place of each ring in doubt.
//! Such a ring is [adrift](Cursor::lose_place), and left alone until the vCPUs stand and [`Cursor::locate`] has found it.

use crate::error::Result;

/// The state of a position, as its flags say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryState {
    /// Nothing to harvest.
    Empty,
    /// Written, and not harvested.
    Dirty,
    /// Harvested, and not reset.
    Harvested,
}

/// The positions of a ring, which the kernel and the reader share.
pub trait Entries {
    /// How many: a power of two.
    fn size(&self) -> u32;
    /// How many entries make the kernel say that the ring is full.
    fn full(&self) -> u32;
    /// A position's state; if it is dirty, what was written there can be read.
    fn state(&self, position: u32) -> EntryState;
    /// The slot and the page of a dirty position.
    fn read(&self, position: u32) -> (u32, u64);
    /// Hands a position back to the kernel.
    fn mark_harvested(&mut self, position: u32);
}

/// What a harvest brought.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Harvest {
    /// Entries that were read.
    pub entries: u32,
    /// Entries that the kernel had written over before they were.
    pub lost: u32,
    /// The whole ring was read: there may have been more, which was written over.
    pub at_limit: bool,
}

/// Whether there is nothing in any position.
fn is_empty(entries: &impl Entries) -> bool {
    (0..entries.size()).all(|at| entries.state(at) == EntryState::Empty)
}

/// What is known of a reader's place in a ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// The reader is in step with the kernel.
    #[default]
    InStep,
    /// There is reason to look for entries that were written over.
    Suspect,
    /// As [`Suspect`](Self::Suspect), but all positions were empty when the reader stood here: the next entry will tell where the kernel
    /// stands.
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
    /// How often in a row that was so while nobody wrote.
    starved: u32,
}

impl Cursor {
    /// At this entry, where a ring is empty.
    pub fn at(index: u32) -> Self {
        Self { reset: index, next: index, ..Self::default() }
    }

    /// Reads what there is, at most as much as the ring holds: `take` gets the slot and the page, and says whether it could take
    /// them; where not, the entry stays and the harvest ends. Only while nobody writes (`stopped`) can a gap be told from an
    /// entry that is just being written.
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
        // An entry here, and none just before, where all was empty: the kernel began to write here. Had it begun elsewhere, it
        // would have come round, and have written what is just before this first.
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
                        // Of a ring that was full and more, what is reset now hides how far the kernel was.
                        self.place = Place::Suspect;
                        break;
                    }
                    entries.mark_harvested(self.next & mask);
                    self.next = self.next.wrapping_add(1);
                    harvest.entries += 1;
                }
                // Harvested before a RESET that did not get here.
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
            // As much as there can be: perhaps there was more.
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

    /// The kernel said twice that the ring is full, and there is nothing in it: an overrun of about a whole ring, all of which
    /// was read as if it were in step. Nobody writes, and nobody can. Hands back as many entries as the kernel must count for
    /// a ring to be full; how many, or none.
    pub fn free(&mut self, entries: &mut impl Entries) -> u32 {
        if !std::mem::take(&mut self.full) {
            return 0;
        }
        // Once it may have been full before the last harvest, and said so after it. Twice, it was entered in between.
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

    /// Whether the entry is dirty that is `ahead` of the one to read next: entries are written in order.
    pub fn is_dirty_at(&self, entries: &impl Entries, ahead: u32) -> bool {
        entries.state(self.next.wrapping_add(ahead) & (entries.size() - 1)) == EntryState::Dirty
    }

    /// Nobody writes, and RESET counted what it should: if all is empty, the next entry will tell where the kernel stands.
    pub fn verify(&mut self, entries: &impl Entries) {
        if self.place == Place::Suspect && is_empty(entries) {
            self.place = Place::Verified;
        }
    }

    /// Whether something of the ring may be written over, or its place is not known.
    pub fn is_suspect(&self) -> bool {
        self.place != Place::InStep
    }

    /// Whether there is something to find that only a stopped harvest finds. Where all was empty and still is, there is not, however
    /// long it takes until the next entry tells where the kernel stands.
    pub fn wants_stop(&self, entries: &impl Entries) -> bool {
        match self.place {
            Place::InStep => false,
            Place::Suspect | Place::Adrift => true,
            Place::Verified => !is_empty(entries),
        }
    }

    /// The empty positions before one that is not, if there is reason to look.
    fn gap(&self, entries: &impl Entries) -> Option<u32> {
        if self.place == Place::InStep {
            return None;
        }
        let left = entries.size() - self.unreset();
        (1..left)
            .find(|ahead| entries.state(self.next.wrapping_add(*ahead) & (entries.size() - 1)) != EntryState::Empty)
    }

    /// How many entries the next RESET should count for this ring; of one that is adrift, none.
    pub fn unreset(&self) -> u32 {
        if self.is_adrift() { 0 } else { self.next.wrapping_sub(self.reset) }
    }

    /// RESET counted what it should.
    pub fn was_reset(&mut self) {
        self.reset = self.next;
    }

    /// RESET counted something else than it should, of this ring or of another: it stopped somewhere in what was handed back.
    pub fn lose_place(&mut self) {
        if self.unreset() > 0 {
            self.place = Place::Adrift;
        }
    }

    /// Whether the kernel's reset index is to be found.
    pub fn is_adrift(&self) -> bool {
        self.place == Place::Adrift
    }

    /// Finds the kernel's reset index while nobody writes, and no ring has anything that RESET would take: hands back what is
    /// dirty where the index can be, one entry after the other, until RESET takes it. What is dirty there was written over what had
    /// been handed back.
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

    /// The kernel says that the ring is full: if there is nothing to harvest, something was written over.
    pub fn is_full(&mut self) {
        self.suspect();
        self.full = true;
    }

    /// There is reason to look for entries that were written over.
    fn suspect(&mut self) {
        if self.place == Place::InStep {
            self.place = Place::Suspect;
        }
    }
}
