//! Replays writes to find their pages. Stretches of writes are added one after the other, so that several sets, each a
//! subset of the next one, cost only as much as the largest of them.

use std::ops::Range;

use super::kind::Sharing;
use super::page_set::PageSet;
use super::program::Program;
use super::sequence::Sequence;

/// After how many writes `go_on` is asked whether to go on: after about a millisecond.
const BATCH: u64 = 1 << 18;
/// The same number if there are so many pages that counting them takes as long.
const MOST_BATCH: u64 = 1 << 22;

/// Which of a share's pages were written, by their number.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    words: Vec<u64>,
    pages: u64,
}

impl Seen {
    pub fn new(pages: u64) -> Self {
        Self { words: vec![0; pages.div_ceil(64) as usize], pages }
    }

    pub fn has(&self, page: u64) -> bool {
        self.words[(page / 64) as usize] >> (page % 64) & 1 == 1
    }

    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn all(&self) -> bool {
        self.count() == self.pages
    }

    fn add_range(&mut self, range: Range<u64>) {
        let mut at = range.start;
        while at < range.end {
            let (word, bit) = ((at / 64) as usize, at % 64);
            let bits = (64 - bit).min(range.end - at);
            self.words[word] |= (u64::MAX >> (64 - bits)) << bit;
            at += bits;
        }
    }
}

impl Sequence {
    /// Adds the pages of these writes. Returns `false` if `go_on` ended it before all were added.
    pub fn add(&self, writes: Range<u64>, seen: &mut Seen, go_on: &mut dyn FnMut() -> bool) -> bool {
        if writes.is_empty() || self.writes_nothing() {
            return true;
        }
        if let Some(pages) = self.pages_of_a_stretch(&writes) {
            pages.into_iter().for_each(|range| seen.add_range(range));
            return true;
        }
        // Once all pages were seen, later writes change nothing. This is checked after a batch and not after each
        // write, because such a check would make each write wait for the one before it.
        let batch = (self.pages() / 16).clamp(BATCH, MOST_BATCH);
        let mut next = writes.start;
        while next < writes.end && !seen.all() {
            if !go_on() {
                return false;
            }
            let end = writes.end.min(next.saturating_add(batch));
            self.draw(next..end, |page| seen.words[(page / 64) as usize] |= 1 << (page % 64));
            next = end;
        }
        true
    }
}

/// The pages that a program's vCPUs wrote, with their mailboxes and the control page.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    program: &'a Program,
    /// One for each vCPU, or one for all of them if they share their pages.
    shares: Vec<Seen>,
    mailboxes: Vec<bool>,
    control: bool,
}

impl<'a> Replay<'a> {
    pub fn new(program: &'a Program) -> Self {
        let shares = match program.sharing() {
            Sharing::Split => program.sequences().map(|(_, sequence)| Seen::new(sequence.pages())).collect(),
            Sharing::Shared => vec![Seen::new(program.sequence(0).pages())],
        };
        Self { program, shares, mailboxes: vec![false; program.vcpus() as usize], control: false }
    }

    /// Adds what `of` returns for each vCPU, which are some writes and perhaps the mailbox, and perhaps the control
    /// page. Earlier additions stay. Returns `false` if `go_on` ended it.
    pub fn add(
        &mut self,
        of: impl Fn(usize) -> (Range<u64>, bool),
        control: bool,
        go_on: &mut dyn FnMut() -> bool,
    ) -> bool {
        self.control |= control;
        for (vcpu, sequence) in self.program.sequences() {
            let (writes, mailbox) = of(vcpu as usize);
            self.mailboxes[vcpu as usize] |= mailbox;
            let share = (vcpu as usize).min(self.shares.len() - 1);
            if !sequence.add(writes, &mut self.shares[share], go_on) {
                return false;
            }
        }
        true
    }

    /// How many pages were added.
    pub fn count(&self) -> u64 {
        let mailboxes = self.mailboxes.iter().filter(|&&written| written).count() as u64;
        self.shares.iter().map(Seen::count).sum::<u64>() + mailboxes + u64::from(self.control)
    }

    /// Whether the control page was added.
    pub fn control(&self) -> bool {
        self.control
    }

    /// The pages that were added.
    pub fn pages(&self) -> PageSet {
        let page_size = self.program.page_size();
        let mut frames = Vec::with_capacity(self.count() as usize);
        for (seen, (_, sequence)) in self.shares.iter().zip(self.program.sequences()) {
            for (first, segment) in sequence.segments() {
                let frame = segment.guest_address / segment.page_size;
                let pages = first..first + segment.pages;
                frames.extend(pages.filter(|&page| seen.has(page)).map(|page| frame + (page - first)));
            }
        }
        for (vcpu, _) in self.mailboxes.iter().enumerate().filter(|(_, written)| **written) {
            frames.push(self.program.mailbox_page(vcpu as u32) / page_size);
        }
        if self.control {
            frames.push(self.program.control_page() / page_size);
        }
        frames.into()
    }
}
