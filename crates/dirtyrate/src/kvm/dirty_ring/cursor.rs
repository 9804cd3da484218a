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

/// A reader's place in a ring.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// The kernel's reset index.
    reset: u32,
    /// The entry to read next.
    next: u32,
    /// There is reason to look for entries that were written over.
    suspect: bool,
    /// The kernel said that the ring is full, and nothing was found in it since.
    full: bool,
    /// How often in a row that was so while nobody wrote.
    starved: u32,
    /// All positions were empty when this reader stood here.
    verified: bool,
}

impl Cursor {
    /// At this entry, where a ring is empty.
    #[cfg(test)]
    fn at(index: u32) -> Self {
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
        let size = entries.size();
        let mask = size - 1;
        // An entry here, and none just before, where all was empty: the kernel began to write here. Had it begun elsewhere, it
        // would have come round, and have written what is just before this first.
        if self.suspect
            && self.verified
            && entries.state(self.next & mask) == EntryState::Dirty
            && entries.state(self.next.wrapping_sub(1) & mask) == EntryState::Empty
        {
            self.suspect = false;
        }
        while self.unreset() < size {
            match entries.state(self.next & mask) {
                EntryState::Dirty => {
                    let (slot, page) = entries.read(self.next & mask);
                    if !take(slot, page) {
                        // Of a ring that was full and more, what is reset now hides how far the kernel was.
                        (self.suspect, self.verified) = (true, false);
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
            self.suspect = true;
            harvest.at_limit = true;
        }
        if harvest.entries > 0 {
            (self.full, self.starved, self.verified) = (false, 0, false);
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
        let empty = self.unreset() == 0 && (0..entries.size()).all(|at| entries.state(at) == EntryState::Empty);
        if self.starved < 2 || !empty {
            return 0;
        }
        let full = entries.full();
        for _ in 0..full {
            entries.mark_harvested(self.next & (entries.size() - 1));
            self.next = self.next.wrapping_add(1);
        }
        self.suspect = true;
        self.verified = false;
        full
    }

    /// Whether the entry is dirty that is `ahead` of the one to read next: entries are written in order.
    pub fn is_dirty_at(&self, entries: &impl Entries, ahead: u32) -> bool {
        entries.state(self.next.wrapping_add(ahead) & (entries.size() - 1)) == EntryState::Dirty
    }

    /// Nobody writes, and RESET counted what it should: if all is empty, the next entry will tell where the kernel stands.
    pub fn verify(&mut self, entries: &impl Entries) {
        if self.suspect && !self.verified {
            self.verified = (0..entries.size()).all(|at| entries.state(at) == EntryState::Empty);
        }
    }

    /// Whether there may be a gap, which only a stopped harvest finds.
    pub fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// The empty positions before a dirty one, if there is reason to look.
    fn gap(&self, entries: &impl Entries) -> Option<u32> {
        if !self.suspect {
            return None;
        }
        let left = entries.size() - self.unreset();
        (1..left)
            .find(|ahead| entries.state(self.next.wrapping_add(*ahead) & (entries.size() - 1)) == EntryState::Dirty)
    }

    /// How many entries the next RESET should count for this ring.
    pub fn unreset(&self) -> u32 {
        self.next.wrapping_sub(self.reset)
    }

    /// RESET counted what it should.
    pub fn was_reset(&mut self) {
        self.reset = self.next;
    }

    /// RESET counted less than it should, and nobody writes now: goes back to where it stopped.
    pub fn resynchronise(&mut self, entries: &impl Entries) {
        while self.reset != self.next && entries.state(self.reset & (entries.size() - 1)) == EntryState::Empty {
            self.reset = self.reset.wrapping_add(1);
        }
        self.next = self.reset;
        self.suspect = true;
        self.verified = false;
    }

    /// The kernel says that the ring is full: if there is nothing to harvest, something was written over.
    pub fn is_full(&mut self) {
        self.suspect = true;
        self.full = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The kernel's side (virt/kvm/dirty_ring.c), with its indices in the open.
    struct Kernel {
        flags: Vec<EntryState>,
        pages: Vec<u64>,
        dirty: u32,
        reset: u32,
        /// Entries that were written over before anybody read them.
        overwritten: u64,
        /// Entries that were written before the position was given back.
        overran: u64,
    }

    impl Kernel {
        fn new(size: u32, start: u32) -> Self {
            let flags = vec![EntryState::Empty; size as usize];
            Self { flags, pages: vec![0; size as usize], dirty: start, reset: start, overwritten: 0, overran: 0 }
        }

        fn push(&mut self, page: u64) {
            let position = (self.dirty & (self.size() - 1)) as usize;
            self.overwritten += u64::from(self.flags[position] == EntryState::Dirty);
            self.overran += u64::from(self.used() >= self.size());
            (self.flags[position], self.pages[position]) = (EntryState::Dirty, page);
            self.dirty = self.dirty.wrapping_add(1);
        }

        /// KVM_RESET_DIRTY_RINGS.
        fn reset(&mut self) -> u32 {
            let mut count = 0;
            loop {
                let position = (self.reset & (self.size() - 1)) as usize;
                if self.flags[position] != EntryState::Harvested {
                    return count;
                }
                self.flags[position] = EntryState::Empty;
                self.reset = self.reset.wrapping_add(1);
                count += 1;
            }
        }

        fn used(&self) -> u32 {
            self.dirty.wrapping_sub(self.reset)
        }
    }

    impl Entries for Kernel {
        fn size(&self) -> u32 {
            self.flags.len() as u32
        }

        fn full(&self) -> u32 {
            self.size() / 2
        }

        fn state(&self, position: u32) -> EntryState {
            self.flags[position as usize]
        }

        fn read(&self, position: u32) -> (u32, u64) {
            (0, self.pages[position as usize])
        }

        fn mark_harvested(&mut self, position: u32) {
            self.flags[position as usize] = EntryState::Harvested;
        }
    }

    struct Reader {
        cursor: Cursor,
        read: Vec<u64>,
        lost: u64,
    }

    impl Reader {
        fn harvest(&mut self, kernel: &mut Kernel, at_most: u32) {
            let read = &mut self.read;
            let mut room = at_most;
            let harvest = self.cursor.harvest(kernel, true, |_, page| {
                let takes = room > 0;
                if takes {
                    read.push(page);
                    room -= 1;
                }
                takes
            });
            self.lost += u64::from(harvest.lost);
        }

        fn reset(&mut self, kernel: &mut Kernel) {
            if kernel.reset() == self.cursor.unreset() {
                self.cursor.was_reset();
                self.cursor.verify(kernel);
            } else {
                self.cursor.resynchronise(kernel);
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Push(u32),
        Harvest(u32),
        Reset,
    }

    fn operations(longest: u32) -> impl Strategy<Value = Vec<Operation>> {
        // Of which some are ended by who takes the entries.
        let harvest = prop_oneof![Just(u32::MAX), 0..=longest].prop_map(Operation::Harvest);
        let one = prop_oneof![(1..=longest).prop_map(Operation::Push), harvest, Just(Operation::Reset)];
        proptest::collection::vec(one, 1..60)
    }

    /// Around the wrap of the kernel's counters, and elsewhere.
    fn starts() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), Just(u32::MAX), (u32::MAX - 100)..u32::MAX, any::<u32>()]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_without_an_overrun(start in starts(), size in 2u32..8, operations in operations(40)) {
            let mut kernel = Kernel::new(1 << size, start);
            let mut reader = Reader { cursor: Cursor::at(start), read: Vec::new(), lost: 0 };
            let mut pushed = 0;
            for operation in operations {
                match operation {
                    // A vCPU leaves when its ring is full.
                    Operation::Push(count) => for _ in 0..count.min(kernel.size() - kernel.used()) {
                        kernel.push(pushed);
                        pushed += 1;
                    },
                    Operation::Harvest(at_most) => reader.harvest(&mut kernel, at_most),
                    Operation::Reset => reader.reset(&mut kernel),
                }
            }
            for _ in 0..2 {
                reader.harvest(&mut kernel, u32::MAX);
                reader.reset(&mut kernel);
            }
            prop_assert_eq!(reader.read, (0..pushed).collect::<Vec<_>>());
            prop_assert_eq!((reader.lost, kernel.used()), (0, 0));
        }

        #[test]
        fn an_overrun_is_noticed_and_everything_after_it_is_read(
            start in starts(), size in 2u32..8, operations in operations(400), after in 1u64..300,
        ) {
            let mut kernel = Kernel::new(1 << size, start);
            let mut reader = Reader { cursor: Cursor::at(start), read: Vec::new(), lost: 0 };
            let mut pushed = 0;
            for operation in operations {
                match operation {
                    // An emulated one does not, at once: it may go round more than once before it leaves.
                    Operation::Push(count) if kernel.used() < kernel.full() => for _ in 0..count.min(3 * kernel.size()) {
                        kernel.push(pushed);
                        pushed += 1;
                    },
                    Operation::Push(_) => reader.cursor.is_full(),
                    Operation::Harvest(at_most) => reader.harvest(&mut kernel, at_most),
                    Operation::Reset => reader.reset(&mut kernel),
                }
            }
            // The vCPU is out, and comes in again only if its ring is not full.
            let mut entered = false;
            for _ in 0..400 {
                reader.harvest(&mut kernel, u32::MAX);
                reader.reset(&mut kernel);
                if kernel.used() >= kernel.full() {
                    reader.cursor.is_full();
                    reader.lost += u64::from(reader.cursor.free(&mut kernel));
                    reader.reset(&mut kernel);
                } else if !entered {
                    // One more entry is all that it takes to see where the kernel stands.
                    kernel.push(u64::MAX);
                    entered = true;
                }
            }
            prop_assert_eq!(kernel.used(), 0, "in step");
            prop_assert_eq!(reader.read.last(), Some(&u64::MAX));
            prop_assert!(reader.lost >= u64::from(kernel.overwritten > 0), "noticed");
            prop_assert!(reader.lost <= kernel.overran, "{} reported of {}", reader.lost, kernel.overran);
            // From here on it is exact.
            let known = reader.read.len();
            for page in 0..after {
                if kernel.used() >= kernel.full() {
                    reader.harvest(&mut kernel, u32::MAX);
                    reader.reset(&mut kernel);
                }
                kernel.push(page);
            }
            for _ in 0..2 {
                reader.harvest(&mut kernel, u32::MAX);
                reader.reset(&mut kernel);
            }
            prop_assert_eq!(&reader.read[known..], (0..after).collect::<Vec<_>>());
        }
    }
}
