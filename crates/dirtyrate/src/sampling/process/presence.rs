//! Which pages of another process are in memory, without mapping any of them.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::super::pagemap::{Pagemap, is_present, is_swapped};
use super::scan::{PAGE_IS_PFNZERO, PAGE_IS_PRESENT, PAGE_IS_SWAPPED, PageRegion, scan_pages};
use crate::error::FailedCall;
use crate::page_size::host_page_size;

/// What the page tables of a process say about a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing is mapped there yet.
    Absent,
    /// The page is the kernel's page of zeros, so it need not be read.
    Zero,
    /// The page is in swap, or on its way to another place.
    Swapped,
    /// The page is in memory.
    Present,
}

/// How many looks one scan may pass over.
const MOST_AHEAD: usize = 64;
/// A scan that takes longer than this for each look that it settles walks page tables without a page in them. Then it
/// is cheaper to ask about single pages: a call of the kernel takes about 0.3 µs, and the walk of a table 2 to 3 µs
/// (measured).
const CHEAP: Duration = Duration::from_nanos(500);

/// Finds out which pages are in memory.
#[derive(Debug)]
pub struct PresenceMap {
    file: File,
    page_size: u64,
    /// How many looks the next scan passes over.
    ahead: usize,
    /// In place of scans, on kernels that have none.
    entries: Option<Pagemap>,
}

impl PresenceMap {
    /// A map over the pagemap of a process.
    pub fn of(file: &File) -> io::Result<Self> {
        Ok(Self { file: file.try_clone()?, page_size: host_page_size(), ahead: MOST_AHEAD, entries: None })
    }

    /// The same without scans, as before Linux 6.7.
    #[cfg(any(test, feature = "testing"))]
    pub fn without_scans(&mut self) -> io::Result<()> {
        self.entries = Some(Pagemap::of(self.file.try_clone()?));
        Ok(())
    }

    /// What is at each of `addresses`, which ascend.
    pub fn find(&mut self, addresses: &[u64], found: &mut Vec<Presence>) -> Result<(), FailedCall> {
        found.clear();
        if self.entries.is_none() {
            match self.scan_all(addresses, found) {
                Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => {
                    let copy = self.file.try_clone().map_err(FailedCall::of("fcntl(F_DUPFD_CLOEXEC)"))?;
                    self.entries = Some(Pagemap::of(copy));
                    found.clear();
                }
                done => return done.map_err(FailedCall::of("PAGEMAP_SCAN")),
            }
        }
        let entries = self.entries.as_mut().expect("it was made above");
        entries.forget();
        for (place, address) in addresses.iter().enumerate() {
            let next = addresses[place + 1..].iter().map(|address| address / self.page_size);
            let entry = entries.entry(address / self.page_size, next).map_err(FailedCall::of("pread"))?;
            found.push(match entry {
                _ if is_present(entry) => Presence::Present,
                _ if is_swapped(entry) => Presence::Swapped,
                _ => Presence::Absent,
            });
        }
        Ok(())
    }

    /// Each scan goes from a look to the first page that is there, and settles all looks on its way. So memory that
    /// nobody has touched takes one call for many looks, and dense memory one call for each look.
    fn scan_all(&mut self, addresses: &[u64], found: &mut Vec<Presence>) -> io::Result<()> {
        let mut place = 0;
        while let Some(&from) = addresses.get(place) {
            let last = (place + self.ahead).min(addresses.len()) - 1;
            let began = Instant::now();
            let region = self.scan(from, addresses[last] + self.page_size)?;
            let settled = match &region {
                Some(region) => addresses[place..=last].partition_point(|&address| address < region.start),
                None => last + 1 - place,
            };
            found.extend(std::iter::repeat_n(Presence::Absent, settled));
            place += settled;
            if settled > 1 || region.is_none() {
                let cheap = began.elapsed() <= CHEAP * settled.max(1) as u32;
                self.ahead = if cheap { (self.ahead * 2).min(MOST_AHEAD) } else { (self.ahead / 4).max(1) };
            }
            if let Some(region) = region.filter(|region| addresses.get(place) == Some(&region.start)) {
                found.push(presence(region.categories));
                place += 1;
            }
        }
        Ok(())
    }

    /// The first page in these addresses that is present or swapped.
    fn scan(&self, start: u64, end: u64) -> io::Result<Option<PageRegion>> {
        let mut region = [PageRegion::default()];
        let wanted = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
        let scanned = scan_pages(&self.file, start..end, (wanted, wanted | PAGE_IS_PFNZERO), 1, &mut region)?;
        Ok((scanned.regions > 0).then_some(region[0]))
    }
}

fn presence(categories: u64) -> Presence {
    match categories {
        _ if categories & PAGE_IS_PFNZERO != 0 => Presence::Zero,
        _ if categories & PAGE_IS_PRESENT != 0 => Presence::Present,
        _ => Presence::Swapped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_page_that_is_in_memory_and_not_of_zeros_is_read() {
        let cases = [
            (PAGE_IS_PRESENT, Presence::Present),
            (PAGE_IS_PRESENT | PAGE_IS_PFNZERO, Presence::Zero),
            (PAGE_IS_SWAPPED, Presence::Swapped),
        ];
        for (categories, expected) in cases {
            assert_eq!(presence(categories), expected, "{categories:#x}");
        }
    }
}
