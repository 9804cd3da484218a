//! Reads the soft-dirty bits of a process.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};
use crate::page_size::host_page_size;
use crate::sampling::process::{PAGE_IS_SOFT_DIRTY, PageRegion, Process, scan_pages};
use crate::wait::CancelToken;

/// Bytes of an entry of pagemap.
const ENTRY: u64 = 8;
/// The page was written since the bits were cleared: Documentation/admin-guide/mm/pagemap.rst.
pub const SOFT_DIRTY: u64 = 1 << 55;
/// The page is in RAM.
pub const PRESENT: u64 = 1 << 63;
/// How much memory one call asks about, so that a cancel is noticed soon.
const SCAN_BYTES: u64 = 1 << 30;
/// How many regions one scan gives.
const REGIONS: usize = 1024;
/// How many entries one read of pagemap gives.
const ENTRIES: u64 = 1 << 16;

/// Whether the page of an entry was written since the bits were cleared.
pub fn is_soft_dirty(entry: u64) -> bool {
    entry & SOFT_DIRTY != 0
}

/// The soft-dirty bits of one process.
#[derive(Debug)]
pub struct SoftDirtyBits<'a> {
    process: &'a Process,
    pagemap: &'a File,
    page_size: u64,
    /// Whether PAGEMAP_SCAN knows soft-dirty bits.
    scans: bool,
    regions: Box<[PageRegion]>,
    entries: Vec<u8>,
}

impl<'a> SoftDirtyBits<'a> {
    pub fn of(process: &'a Process) -> Self {
        Self::in_file(process, process.pagemap())
    }

    /// The bits in `pagemap`, which is the file of the process, or stands for it.
    pub(super) fn in_file(process: &'a Process, pagemap: &'a File) -> Self {
        let regions = vec![PageRegion::default(); REGIONS].into_boxed_slice();
        Self { process, pagemap, page_size: host_page_size(), scans: true, regions, entries: Vec::new() }
    }

    /// Hands each run of written pages in `addresses` to `found`, in order.
    pub fn each(
        &mut self,
        addresses: Range<u64>,
        cancel: &CancelToken,
        mut found: impl FnMut(Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let mut at = addresses.start;
        while at < addresses.end {
            cancel.check()?;
            let end = addresses.end.min(at + if self.scans { SCAN_BYTES } else { ENTRIES * self.page_size });
            at = self.step(at..end, &mut found)?;
        }
        Ok(())
    }

    /// Hands runs of `addresses` to `found`; returns up to where the bits are known.
    fn step(&mut self, addresses: Range<u64>, found: &mut impl FnMut(Range<u64>) -> Result<()>) -> Result<u64> {
        if self.scans {
            let kinds = (PAGE_IS_SOFT_DIRTY, PAGE_IS_SOFT_DIRTY);
            match scan_pages(self.pagemap, addresses.clone(), kinds, 0, &mut self.regions) {
                Ok(scanned) => {
                    for region in &self.regions[..scanned.regions] {
                        found(region.start..region.end)?;
                    }
                    if scanned.end > addresses.start {
                        return Ok(scanned.end);
                    }
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EINVAL)) => {}
                Err(error) => return Err(self.failed("PAGEMAP_SCAN", addresses.start, error)),
            }
            self.scans = false;
        }
        let end = addresses.end.min(addresses.start + ENTRIES * self.page_size);
        self.entries.resize(((end - addresses.start) / self.page_size * ENTRY) as usize, 0);
        let read = self.pagemap.read_exact_at(&mut self.entries, addresses.start / self.page_size * ENTRY);
        read.map_err(|error| self.failed("pread", addresses.start, error))?;
        let (entries, _) = self.entries.as_chunks::<{ ENTRY as usize }>();
        let mut run: Option<Range<u64>> = None;
        for (address, entry) in (addresses.start..end).step_by(self.page_size as usize).zip(entries) {
            if is_soft_dirty(u64::from_ne_bytes(*entry)) {
                run.get_or_insert(address..address).end = address + self.page_size;
            } else if let Some(run) = run.take() {
                found(run)?;
            }
        }
        run.map_or(Ok(()), found)?;
        Ok(end)
    }

    /// Whether the page at `address` is in memory, and was not written since the bits were cleared.
    pub fn is_clean(&self, address: u64) -> Result<bool> {
        let mut entry = [0; ENTRY as usize];
        let read = self.pagemap.read_exact_at(&mut entry, address / self.page_size * ENTRY);
        read.map_err(|error| self.failed("pread", address, error))?;
        let entry = u64::from_ne_bytes(entry);
        Ok(entry & PRESENT != 0 && !is_soft_dirty(entry))
    }

    /// The error of a call on the pagemap, which reads nothing of a process that has ended.
    fn failed(&self, call: &'static str, address: u64, source: io::Error) -> Error {
        match self.process.check() {
            Err(gone) => gone,
            Ok(()) => Error::refused(call, format!("the pagemap at {address:#x}"), source),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::fake_pagemap::FakePagemap;
    use super::*;

    /// The most pages of a test: more than two reads.
    const MOST: u64 = 3 * ENTRIES;

    fn addresses(pages: Range<u64>) -> Range<u64> {
        pages.start * host_page_size()..pages.end * host_page_size()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_written_pages_are_found_and_no_others(
            first in 0..MOST / 2,
            pages in 1..MOST / 2,
            runs in proptest::collection::vec((0..MOST, 1_u64..3000), 0..8),
            scans in any::<bool>(),
        ) {
            let (pagemap, mut written) = (FakePagemap::new(MOST), BTreeSet::new());
            pagemap.set(0..MOST, !SOFT_DIRTY);
            for (from, count) in runs {
                let run = from..(from + count).min(MOST);
                pagemap.set(run.clone(), SOFT_DIRTY);
                written.extend(run);
            }
            let (mut bits, mut found) = (pagemap.bits(), Vec::new());
            bits.scans = scans;
            let each = bits.each(addresses(first..first + pages), &CancelToken::new(), |run| {
                found.extend(run.start / host_page_size()..run.end / host_page_size());
                Ok(())
            });
            prop_assert!(each.is_ok());
            prop_assert_eq!(found, written.range(first..first + pages).copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_a_page_that_is_in_memory_can_have_lost_its_bit() {
        let pagemap = FakePagemap::new(4);
        for (entry, expected) in [(0, false), (PRESENT, true), (SOFT_DIRTY, false), (PRESENT | SOFT_DIRTY, false)] {
            pagemap.set(2..3, entry);
            assert_eq!(pagemap.bits().is_clean(2 * host_page_size()).expect("an entry"), expected, "{entry:#x}");
        }
    }

    #[test]
    fn entries_that_are_not_there_are_an_error() {
        let pagemap = FakePagemap::new(4);
        let read = pagemap.bits().each(addresses(2..9), &CancelToken::new(), |_| Ok(()));
        assert!(matches!(&read, Err(Error::Ioctl { call: "pread", .. })), "{read:?}");
        let read = pagemap.bits().is_clean(9 * host_page_size());
        assert!(matches!(&read, Err(Error::Ioctl { call: "pread", .. })), "{read:?}");
    }

    #[test]
    fn a_look_can_be_cancelled() {
        let (pagemap, cancel) = (FakePagemap::new(4), CancelToken::new());
        cancel.cancel();
        assert!(matches!(pagemap.bits().each(addresses(0..4), &cancel, |_| Ok(())), Err(Error::Cancelled)));
    }
}
