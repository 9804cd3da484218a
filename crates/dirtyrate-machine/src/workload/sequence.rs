//! The writes of one vCPU, in order: a pure function from a write's index to its page, which
//! `guest.s` computes too.
//!
//! A write depends only on its index, so that any stretch of writes can be replayed.

use std::ops::Range;

use super::kind::Kind;
use super::layout::{Segment, total};

// SplitMix64: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014;
// the constants of Vigna's public-domain splitmix64.c.
pub(super) const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
pub(super) const MULTIPLIER_1: u64 = 0xbf58_476d_1ce4_e5b9;
pub(super) const MULTIPLIER_2: u64 = 0x94d0_49bb_1331_11eb;

/// A hot-cold write is hot if the low half of its random word is below this: 9/10 of 2^32. The page
/// comes from the high half.
pub(super) const HOT_BELOW: u32 = (9 * (1u64 << 32) / 10) as u32;

/// After how many writes a long search asks `go_on` whether to go on: after some milliseconds.
const WRITES_BETWEEN_LOOKS: u64 = 1 << 18;

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(MULTIPLIER_1);
    let state = (state ^ (state >> 27)).wrapping_mul(MULTIPLIER_2);
    state ^ (state >> 31)
}

/// Scales a random word to `0..limit`.
fn scale(random: u64, limit: u64) -> u64 {
    ((u128::from(random) * u128::from(limit)) >> 64) as u64
}

/// From which pages a guest with random pages chooses, as numbers of pages.
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
            // Each vCPU starts at another place of the generator's single cycle of 2^64 numbers.
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

    /// Whether the vCPU writes nothing at all.
    pub fn writes_nothing(&self) -> bool {
        self.kind == Kind::Idle
    }

    /// The numbers of the pages to which these writes go, as ranges, for a guest that walks; `None` for other guests.
    pub fn pages_of_a_stretch(&self, writes: &Range<u64>) -> Option<[Range<u64>; 2]> {
        if matches!(self.kind, Kind::Random | Kind::HotCold) {
            return None;
        }
        let (start, length) = (writes.start % self.pages, writes.end - writes.start);
        // If the writes go past the last page, they go on at the first page, up to the page where they began.
        let end = start + length.min(self.pages);
        Some([0..end.saturating_sub(self.pages), start..end.min(self.pages)])
    }

    /// Calls `each` with the page of each of these writes, for a guest that draws its pages. Each kind has its own
    /// loop, because the kind is the same for all writes, and no loop has a jump that a CPU cannot predict.
    pub fn draw(&self, writes: Range<u64>, mut each: impl FnMut(u64)) {
        let Choice { pages, cold_first, cold_pages } = self.choice;
        match self.kind {
            Kind::HotCold => writes.for_each(|index| {
                let random = self.random(index);
                let hot = (random as u32) < HOT_BELOW;
                let (first, limit) = if hot { (0, pages) } else { (cold_first, cold_pages) };
                each(first + scale(random, limit));
            }),
            _ => writes.for_each(|index| each(scale(self.random(index), pages))),
        }
    }

    /// For each page, by number, the index of the last of the first `writes` writes that went to it; `None` if `go_on`
    /// ended the search.
    pub fn last_writes(&self, writes: u64, go_on: &mut dyn FnMut() -> bool) -> Option<Vec<Option<u64>>> {
        let mut last = vec![None; self.pages as usize];
        if self.kind == Kind::Idle {
            return Some(last);
        }
        // The search goes backwards, so the first write that it finds for a page is the last one that was made. Once
        // all pages have a write, older writes do not matter.
        let mut unmet = self.pages;
        for index in (0..writes).rev() {
            if index.is_multiple_of(WRITES_BETWEEN_LOOKS) && !go_on() {
                return None;
            }
            let slot = &mut last[self.page(index) as usize];
            if slot.is_none() {
                *slot = Some(index);
                unmet -= 1;
                if unmet == 0 {
                    break;
                }
            }
        }
        Some(last)
    }
}

#[cfg(test)]
mod tests;
