//! Notices that somebody else clears the bits within the window: a bit that is set must stay set.

use std::ops::Range;

use super::bits::SoftDirtyBits;
use crate::error::{Error, Result};
use crate::page_size::host_page_size;
use crate::wait::CancelToken;

/// How many pages are watched.
const PAGES: usize = 64;
/// How much memory one look for written pages goes through.
const LOOK_BYTES: u64 = 64 << 20;

/// Some of the pages that were found written. A clear takes the bits of all of them away, and the guest seldom writes
/// every one of them again before the next look.
#[derive(Debug)]
pub struct Tripwire<'a> {
    bits: SoftDirtyBits<'a>,
    ranges: Vec<Range<u64>>,
    /// Where the next look for written pages begins: the range, and the address in it.
    at: (usize, u64),
    pages: Vec<u64>,
    tripped: bool,
}

impl<'a> Tripwire<'a> {
    pub fn new(bits: SoftDirtyBits<'a>, ranges: Vec<Range<u64>>) -> Self {
        let first = ranges.first().map_or(0, |range| range.start);
        Self { bits, ranges, at: (0, first), pages: Vec::new(), tripped: false }
    }

    /// Whether bits have vanished. Pages that are in memory no more do not count: the process may have discarded them.
    pub fn is_tripped(&self) -> bool {
        self.tripped
    }

    /// Looks at the watched pages, and for more to watch while there are few: a page that is written all the time shows
    /// no clear.
    pub fn look(&mut self) -> Result<()> {
        for &page in &self.pages {
            self.tripped |= self.bits.is_clean(page)?;
        }
        if self.pages.len() < PAGES { self.watch_more() } else { Ok(()) }
    }

    fn watch_more(&mut self) -> Result<()> {
        let (at, start) = self.at;
        let Some(range) = self.ranges.get(at) else { return Ok(()) };
        let end = range.end.min(start + LOOK_BYTES);
        let (pages, page_size) = (&mut self.pages, host_page_size());
        let looked = self.bits.each(start..end, &CancelToken::new(), |run| {
            // From all of the run, because a guest that writes page after page writes the first ones again together.
            let step = ((run.end - run.start) / page_size).div_ceil((PAGES - pages.len()) as u64) * page_size;
            for page in run.step_by(step as usize) {
                if !pages.contains(&page) {
                    pages.push(page);
                }
            }
            // Ends the look, and is no failure.
            if pages.len() >= PAGES { Err(Error::Cancelled) } else { Ok(()) }
        });
        self.at = match self.ranges.get(at + 1) {
            _ if end < range.end => (at, end),
            Some(next) => (at + 1, next.start),
            None => (0, self.ranges[0].start),
        };
        match looked {
            Err(Error::Cancelled) => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::super::bits::{PRESENT, SOFT_DIRTY};
    use super::super::fake_pagemap::FakePagemap;
    use super::*;

    const WRITTEN: u64 = PRESENT | SOFT_DIRTY;

    fn tripwire<'a>(pagemap: &'a FakePagemap, ranges: &[Range<u64>]) -> Tripwire<'a> {
        let page_size = host_page_size();
        let addresses = |pages: &Range<u64>| pages.start * page_size..pages.end * page_size;
        Tripwire::new(pagemap.bits(), ranges.iter().map(addresses).collect())
    }

    fn is_tripped(tripwire: &mut Tripwire<'_>) -> bool {
        tripwire.look().expect("the entries can be read");
        tripwire.is_tripped()
    }

    #[test]
    fn bits_that_vanish_are_noticed_and_pages_that_vanish_are_none() {
        let pagemap = FakePagemap::new(1000);
        pagemap.set(0..1000, PRESENT);
        let mut tripwire = tripwire(&pagemap, slice::from_ref(&(0..1000)));
        assert!(!is_tripped(&mut tripwire), "nothing is written yet");
        pagemap.set(10..400, WRITTEN);
        assert!(!is_tripped(&mut tripwire));
        pagemap.set(10..200, 0);
        assert!(!is_tripped(&mut tripwire), "the process may discard pages");
        pagemap.set(300..400, PRESENT);
        assert!(is_tripped(&mut tripwire), "not only the first pages of a run are watched");
        pagemap.set(300..400, WRITTEN);
        assert!(is_tripped(&mut tripwire), "what was seen once stays true");
    }

    #[test]
    fn a_page_that_is_written_all_the_time_is_not_watched_alone() {
        let pagemap = FakePagemap::new(1000);
        let mut tripwire = tripwire(&pagemap, slice::from_ref(&(0..1000)));
        pagemap.set(5..6, WRITTEN);
        assert!(!is_tripped(&mut tripwire));
        pagemap.set(700..701, WRITTEN);
        assert!(!is_tripped(&mut tripwire));
        pagemap.set(700..701, PRESENT);
        assert!(is_tripped(&mut tripwire));
    }

    #[test]
    fn written_pages_are_looked_for_in_all_ranges() {
        let look = LOOK_BYTES / host_page_size();
        let (first, second) = (0..look + 7, 2 * look..2 * look + 9);
        let pagemap = FakePagemap::new(second.end);
        let mut tripwire = tripwire(&pagemap, &[first, second.clone()]);
        pagemap.set(second.end - 1..second.end, WRITTEN);
        for _ in 0..3 {
            assert!(!is_tripped(&mut tripwire));
        }
        pagemap.set(second.end - 1..second.end, PRESENT);
        assert!(is_tripped(&mut tripwire));
    }
}
