//! Asks the kernel which pages of this process's memory exist.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of an entry.
const ENTRY: usize = 8;
/// Entries in one read: as many as the kernel collects at a time (`PAGEMAP_WALK_SIZE` is 512 pages of 4 KiB).
const ENTRIES: usize = 512;
/// How many entries a read passes over at most. Reading so many entries is cheaper than another read.
const NEAR: u64 = 32;
/// The page is in RAM: Documentation/admin-guide/mm/pagemap.rst.
const PRESENT: u64 = 1 << 63;
/// The page is swapped.
const SWAPPED: u64 = 1 << 62;

/// A pagemap: `/proc/self/pagemap`, or another process's. It shows present and swapped to every process, without any
/// privilege; only the frame numbers are hidden.
#[derive(Debug)]
pub struct Pagemap {
    file: File,
    entries: Box<[u8; ENTRIES * ENTRY]>,
    /// The pages whose entries were read last.
    known: Range<u64>,
}

impl Pagemap {
    /// Opens `/proc/self/pagemap`.
    pub fn open() -> io::Result<Self> {
        Ok(Self { file: File::open("/proc/self/pagemap")?, entries: Box::new([0; ENTRIES * ENTRY]), known: 0..0 })
    }

    /// A pagemap that reads another file, such as another process's.
    pub fn of(file: File) -> Self {
        Self { file, entries: Box::new([0; ENTRIES * ENTRY]), known: 0..0 }
    }

    /// Forgets the entries that were read, because they can change.
    pub fn forget(&mut self) {
        self.known = 0..0;
    }

    /// Whether `page` (an address divided by the page size) is in RAM or swapped. `next` is as for
    /// [`entry`](Self::entry).
    pub fn is_touched(&mut self, page: u64, next: impl Iterator<Item = u64>) -> io::Result<bool> {
        self.entry(page, next).map(|entry| is_present(entry) || is_swapped(entry))
    }

    /// The entry of `page` (an address divided by the page size). `next` has the pages that will be asked about next,
    /// in ascending order; the near ones are read in the same call, and are known until [`forget`](Self::forget).
    ///
    /// A read costs 0.3–0.6 µs and 3–20 ns for each entry that it passes (huge pages, 4 KiB pages; measured), so a page
    /// further away than [`NEAR`] has a read of its own. PAGEMAP_SCAN (Linux 6.7) is no better here: over one page it
    /// costs about as much as a read, and over 64 samples 2 MiB apart, of 4 KiB pages, six times as much.
    pub fn entry(&mut self, page: u64, next: impl Iterator<Item = u64>) -> io::Result<u64> {
        if !self.known.contains(&page) {
            self.forget();
            let mut last = page;
            for next in next {
                if next < last || next - last > NEAR || next - page >= ENTRIES as u64 {
                    break;
                }
                last = next;
            }
            let length = (last - page + 1) as usize * ENTRY;
            self.file.read_exact_at(&mut self.entries[..length], page * ENTRY as u64)?;
            self.known = page..last + 1;
        }
        let (entries, _) = self.entries.as_chunks::<ENTRY>();
        Ok(u64::from_ne_bytes(entries[(page - self.known.start) as usize]))
    }
}

/// Whether the page of an entry is in RAM.
pub fn is_present(entry: u64) -> bool {
    entry & PRESENT != 0
}

/// Whether the page of an entry is in swap.
pub fn is_swapped(entry: u64) -> bool {
    entry & SWAPPED != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This needs no swap, which few machines that run tests have.
    #[test]
    fn a_page_in_swap_exists() {
        for (entry, expected) in [(1 << 63, true), (1 << 62, true), (3 << 62, true), (0, false), (u64::MAX >> 2, false)]
        {
            assert_eq!(is_present(entry) || is_swapped(entry), expected, "{entry:#x}");
        }
    }
}
