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
const SOFT_DIRTY: u64 = 1 << 55;
/// The page is in RAM.
const PRESENT: u64 = 1 << 63;
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
        let regions = vec![PageRegion::default(); REGIONS].into_boxed_slice();
        let pagemap = process.pagemap();
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
