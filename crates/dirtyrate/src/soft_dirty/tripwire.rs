//! Notices that somebody else clears the bits within the window: a bit that is set must stay set.

use std::ops::Range;

use super::bits::SoftDirtyBits;
use crate::error::{Error, Result};
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

    /// Looks at the watched pages, or for some to watch.
    pub fn look(&mut self) -> Result<()> {
        for &page in &self.pages {
            self.tripped |= self.bits.is_clean(page)?;
        }
        if self.pages.is_empty() { self.watch_some() } else { Ok(()) }
    }

    fn watch_some(&mut self) -> Result<()> {
        let (at, start) = self.at;
        let Some(range) = self.ranges.get(at) else { return Ok(()) };
        let end = range.end.min(start + LOOK_BYTES);
        let pages = &mut self.pages;
        let looked = self.bits.each(start..end, &CancelToken::new(), |run| {
            pages.push(run.start);
            // Ends the look, and is no failure.
            if pages.len() == PAGES { Err(Error::Cancelled) } else { Ok(()) }
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
