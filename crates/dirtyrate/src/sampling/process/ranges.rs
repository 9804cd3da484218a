//! The ranges of a process that are measured, and the mappings that they are made of.

use std::ops::Range;
use std::sync::Arc;

use super::mappings::{Mapping, mappings_in};
use super::process_fd::Process;
use crate::error::{Error, Result};

/// Memory of another process that is a block for measuring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRange {
    /// Unique among the ranges of a reader.
    pub name: String,
    /// Where the guest sees its first page; 0 if that is not known.
    pub guest_address: u64,
    /// Its address in the process, a multiple of the page size.
    pub start: u64,
    /// Its size, a multiple of the page size and not 0.
    pub bytes: u64,
}

impl ProcessRange {
    /// Its addresses in the process.
    pub fn addresses(&self) -> Range<u64> {
        self.start..self.start + self.bytes
    }

    /// Its addresses in the form of `/proc/PID/maps`, in which a user gives them.
    fn as_in_maps(&self) -> String {
        format!("{:x}-{:x}", self.start, self.start.saturating_add(self.bytes))
    }
}

/// Ranges of a process, with the mappings that they had at the beginning.
#[derive(Debug)]
pub struct MappedRanges {
    process: Arc<Process>,
    of: Vec<(Range<u64>, Vec<Mapping>)>,
}

impl MappedRanges {
    /// The ranges as `maps`, the text of the process's mappings, has them.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a range that is not whole pages, or that is not mapped from end to end, or not readable.
    pub fn new(process: Arc<Process>, maps: &str, ranges: &[ProcessRange], page_size: u64) -> Result<Self> {
        let mapped = |range: &ProcessRange| {
            check_range(range, page_size)?;
            let mappings = mappings_in(maps, &range.addresses());
            check_mapped(range, &mappings)?;
            Ok((range.addresses(), mappings))
        };
        Ok(Self { process, of: ranges.iter().map(mapped).collect::<Result<_>>()? })
    }

    /// Each range with its mappings.
    pub fn iter(&self) -> impl Iterator<Item = &(Range<u64>, Vec<Mapping>)> {
        self.of.iter()
    }

    /// The addresses of range number `at`.
    pub fn addresses(&self, at: usize) -> &Range<u64> {
        &self.of[at].0
    }

    /// Fails if the process is no longer what it was, or has other memory in one of the ranges than at the beginning.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessGone`].
    pub fn check(&self) -> Result<()> {
        // The kernel gives the text in pieces, so a change beside the ranges can tear it. Then a second look is right.
        if self.is_as_it_was()? || self.is_as_it_was()? {
            return Ok(());
        }
        Err(self.process.gone("has unmapped or replaced memory that is measured"))
    }

    fn is_as_it_was(&self) -> Result<bool> {
        let maps = self.process.maps()?;
        Ok(self.of.iter().all(|(range, mappings)| mappings_in(&maps, range) == *mappings))
    }
}

fn check_range(range: &ProcessRange, page_size: u64) -> Result<()> {
    let whole = range.start.is_multiple_of(page_size) && range.bytes.is_multiple_of(page_size) && range.bytes > 0;
    if whole && range.start.checked_add(range.bytes).is_some() {
        return Ok(());
    }
    Err(Error::Argument(format!("range {}: give whole pages of {page_size} bytes", range.as_in_maps())))
}

fn check_mapped(range: &ProcessRange, mappings: &[Mapping]) -> Result<()> {
    let refuse = |address: u64, what: &str| {
        Err(Error::Argument(format!(
            "range {}: there is {what} at {address:#x}, so it is no RAM of a guest",
            range.as_in_maps()
        )))
    };
    let mut address = range.start;
    for mapping in mappings {
        if mapping.addresses.start != address {
            return refuse(address, "no memory");
        }
        if !mapping.readable {
            return refuse(address, "memory that may not be read");
        }
        address = mapping.addresses.end;
    }
    if address == range.start + range.bytes { Ok(()) } else { refuse(address, "no memory") }
}
