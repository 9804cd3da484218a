//! The writes of one vCPU, in order: a pure function from a write's index to its page, which
//! `guest.s` computes too.
//!
//! Nothing is carried from one write to the next but the index, so that any stretch can be replayed
//! from anywhere.

use std::ops::Range;

use super::Kind;
use super::layout::{Segment, total};

// SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014;
// the constants of Vigna's public-domain splitmix64.c.
pub(super) const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
pub(super) const MULTIPLIER_1: u64 = 0xbf58_476d_1ce4_e5b9;
pub(super) const MULTIPLIER_2: u64 = 0x94d0_49bb_1331_11eb;

/// A hot-cold write is hot if the low half of its random word is below this: 9/10 of 2^32. The page
/// comes from the high half.
pub(super) const HOT_BELOW: u32 = (9 * (1u64 << 32) / 10) as u32;

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(MULTIPLIER_1);
    let state = (state ^ (state >> 27)).wrapping_mul(MULTIPLIER_2);
    state ^ (state >> 31)
}

/// Scales a random word to `0..limit`.
fn scale(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}

/// What a drawing guest chooses from, as numbers of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// All pages, or with hot-cold the hot ones, which come first.
    pub pages: u64,
    pub cold_first: u64,
    pub cold_pages: u64,
}

impl Choice {
    fn new(kind: Kind, pages: u64) -> Self {
        let hot = match kind {
            Kind::HotCold => pages.div_ceil(10),
            _ => pages,
        };
        if hot < pages {
            Choice { pages: hot, cold_first: hot, cold_pages: pages - hot }
        } else {
            // One page is hot and cold alike.
            Choice { pages, cold_first: 0, cold_pages: pages }
        }
    }
}

/// What one vCPU writes. Its pages are numbered from 0 in guest-physical order.
#[derive(Clone, Debug)]
pub(super) struct Sequence {
    kind: Kind,
    seed: u64,
    pages: u64,
    choice: Choice,
    segments: Vec<Segment>,
    /// The number of each segment's first page.
    firsts: Vec<u64>,
}

impl Sequence {
    pub fn new(kind: Kind, seed: u64, vcpu: u32, segments: Vec<Segment>) -> Self {
        let pages = total(&segments);
        let firsts = segments
            .iter()
            .scan(0, |next, segment| {
                let first = *next;
                *next += segment.pages;
                Some(first)
            })
            .collect();
        Sequence {
            kind,
            // Each vCPU starts somewhere else on the generator's one cycle of 2^64.
            seed: mix(mix(seed).wrapping_add(u64::from(vcpu))),
            pages,
            choice: Choice::new(kind, pages),
            segments,
            firsts,
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn choice(&self) -> Choice {
        self.choice
    }

    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// The number of its first page, and the segment.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = (u64, Segment)> {
        self.firsts.iter().copied().zip(self.segments.iter().copied())
    }

    /// The guest address of a page by its number.
    pub fn address(&self, number: u64) -> u64 {
        let segment = self.firsts.partition_point(|&first| first <= number) - 1;
        self.segments[segment].guest_address + (number - self.firsts[segment]) * self.segments[segment].page_size
    }

    /// The number of the page that the write with this index goes to.
    pub fn page(&self, index: u64) -> u64 {
        match self.kind {
            Kind::Stride | Kind::Silent | Kind::Idle => index % self.pages,
            Kind::Random => scale(self.random(index), self.choice.pages),
            Kind::HotCold => {
                let random = self.random(index);
                if (random as u32) < HOT_BELOW {
                    scale(random, self.choice.pages)
                } else {
                    self.choice.cold_first + scale(random, self.choice.cold_pages)
                }
            }
        }
    }

    fn random(&self, index: u64) -> u64 {
        let steps = index.wrapping_add(1);
        mix(self.seed.wrapping_add(steps.wrapping_mul(GAMMA)))
    }

    /// Appends the frame numbers of the pages that these writes go to, ascending and each once.
    pub fn append_frames(&self, writes: Range<u64>, frames: &mut Vec<u64>) {
        if writes.is_empty() || self.kind == Kind::Idle {
            return;
        }
        if !matches!(self.kind, Kind::Random | Kind::HotCold) {
            let (start, length) = (writes.start % self.pages, writes.end - writes.start);
            // A pass that goes past the end goes on at the beginning, up to where it began.
            let end = start + length.min(self.pages);
            self.append_range(0..end.saturating_sub(self.pages), frames);
            self.append_range(start..end.min(self.pages), frames);
            return;
        }
        let mut seen = vec![0u64; self.pages.div_ceil(64) as usize];
        let mut unseen = self.pages;
        for index in writes {
            let page = self.page(index);
            let (word, bit) = (&mut seen[(page / 64) as usize], 1 << (page % 64));
            unseen -= u64::from(*word & bit == 0);
            *word |= bit;
            if unseen == 0 {
                break;
            }
        }
        for (first, segment) in self.segments() {
            let frame = segment.guest_address / segment.page_size;
            frames.extend(
                (first..first + segment.pages)
                    .filter(|page| seen[(page / 64) as usize] >> (page % 64) & 1 == 1)
                    .map(|page| frame + (page - first)),
            );
        }
    }

    /// Appends the frame numbers of the pages with these numbers.
    fn append_range(&self, pages: Range<u64>, frames: &mut Vec<u64>) {
        for (first, segment) in self.segments() {
            let from = pages.start.max(first);
            let to = pages.end.min(first + segment.pages);
            let frame = segment.guest_address / segment.page_size;
            frames.extend((from..to).map(|page| frame + (page - first)));
        }
    }

    /// For each page, by number, the index of the last of the first `writes` writes that went to
    /// it.
    pub fn last_writes(&self, writes: u64) -> Vec<Option<u64>> {
        let mut last = vec![None; self.pages as usize];
        if self.kind == Kind::Idle {
            return last;
        }
        // Backwards, the first write met is the last one made; once all are met, the older ones do
        // not matter.
        let mut unmet = self.pages;
        for index in (0..writes).rev() {
            let slot = &mut last[self.page(index) as usize];
            if slot.is_none() {
                *slot = Some(index);
                unmet -= 1;
                if unmet == 0 {
                    break;
                }
            }
        }
        last
    }
}

#[cfg(test)]
mod tests;
