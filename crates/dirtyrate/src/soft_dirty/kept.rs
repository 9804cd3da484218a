//! Whether the memory is the same at the end of a measurement as at its beginning. The same mappings do not prove it.
//!
//! A file that was shortened, and then made as long as before, has lost its pages, and so has memory that was mapped
//! again. The bits say nothing about that.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::page_size::host_page_size;
use crate::sampling::process::{
    BackingFile, Kept, MappedRanges, Mapping, Presence, PresenceMap, Process, ProcessRange, replaced,
};

/// How many pages of each range are looked up at most. A page takes 0.3 to 1.3 µs.
const PLACES: u64 = 2048;

/// Pages of each range that were in memory at the beginning, and the files of the ranges.
#[derive(Debug)]
pub struct KeptPages {
    process: Arc<Process>,
    presence: PresenceMap,
    ranges: Vec<KeptRange>,
}

#[derive(Debug)]
struct KeptRange {
    name: String,
    pages: Vec<u64>,
    parts: Vec<Part>,
}

/// A part of a range with one kind of memory.
#[derive(Debug)]
struct Part {
    mapping: Mapping,
    file: Option<BackingFile>,
}

impl KeptPages {
    /// Notes which pages are in memory, and how long the files are. `maps` is the text from which `mapped` was made.
    pub fn of(process: &Arc<Process>, maps: &str, ranges: &[ProcessRange], mapped: &MappedRanges) -> Result<Self> {
        let presence = PresenceMap::of(process.pagemap())
            .map_err(|source| Error::refused("fcntl(F_DUPFD_CLOEXEC)", "the pagemap of another process", source))?;
        let mut kept = Self { process: Arc::clone(process), presence, ranges: Vec::with_capacity(ranges.len()) };
        let page_size = host_page_size();
        for (range, (addresses, mappings)) in ranges.iter().zip(mapped.iter()) {
            let step = (range.bytes / page_size).div_ceil(PLACES).max(1) * page_size;
            let mut pages: Vec<u64> = addresses.clone().step_by(step as usize).collect();
            let found = kept.find(&pages)?;
            let mut found = found.iter();
            pages.retain(|_| found.next() == Some(&Presence::Present));
            let part = |mapping: &Mapping| Part {
                mapping: mapping.clone(),
                file: mapping.has_file().then(|| BackingFile::open(process.pid(), maps, mapping)).flatten(),
            };
            let parts = mappings.iter().map(part).collect();
            kept.ranges.push(KeptRange { name: range.name.clone(), pages, parts });
        }
        Ok(kept)
    }

    fn find(&mut self, addresses: &[u64]) -> Result<Vec<Presence>> {
        let mut found = Vec::with_capacity(addresses.len());
        let done = self.presence.find(addresses, &mut found);
        self.process.check()?;
        done.map_err(|failed| failed.about("the pagemap of another process"))?;
        Ok(found)
    }

    /// Fails if a file is shorter than at the beginning, or if no page of a range is there any more. Memory that was
    /// replaced, and then written, cannot be told from memory that was written.
    ///
    /// Returns whether the process has lost shared pages that their file still has: the kernel takes such pages away
    /// when memory is short, and their bits are lost with that. Of a private mapping it takes only what was never
    /// written.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessGone`].
    pub fn check(&mut self) -> Result<bool> {
        for file in self.ranges.iter().flat_map(|range| &range.parts).filter_map(|part| part.file.as_ref()) {
            file.check(&self.process)?;
        }
        let mut are_unmapped = false;
        for at in 0..self.ranges.len() {
            let pages = std::mem::take(&mut self.ranges[at].pages);
            let found = self.find(&pages)?;
            let range = &self.ranges[at];
            let mut kept = Kept::default();
            for (&page, presence) in pages.iter().zip(found) {
                let is_absent = presence == Presence::Absent;
                let is_lost = is_absent && range.has_lost(page)?;
                kept.present += u64::from(presence == Presence::Present);
                kept.vanished += u64::from(is_lost);
                are_unmapped |= is_absent && !is_lost && range.is_shared(page);
            }
            if kept.is_replaced() {
                return Err(replaced(&self.process, &range.name));
            }
            self.ranges[at].pages = pages;
        }
        Ok(are_unmapped)
    }
}

impl KeptRange {
    fn part(&self, page: u64) -> Option<&Part> {
        self.parts.iter().find(|part| part.mapping.addresses.contains(&page))
    }

    fn is_shared(&self, page: u64) -> bool {
        self.part(page).is_some_and(|part| part.mapping.shared)
    }

    /// Whether a page that the process does not have mapped any more has lost its contents. The kernel may have taken a
    /// page of a file away from the process, and the file still has it.
    fn has_lost(&self, page: u64) -> Result<bool> {
        match self.part(page) {
            Some(Part { mapping, file: Some(file) }) => {
                let offset = mapping.file_offset(page);
                let data = file.next_data(offset).map_err(|failed| failed.about("the file of a process's memory"))?;
                Ok(data >= offset + host_page_size())
            }
            Some(Part { mapping, file: None }) => Ok(!mapping.has_file()),
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::fs::FileExt;
    use std::ptr;

    use super::*;

    const PAGES: usize = 64;

    /// Memory of this process in which each page was written.
    struct Memory {
        start: *mut u8,
        file: Option<File>,
    }

    fn bytes() -> usize {
        PAGES * host_page_size() as usize
    }

    impl Memory {
        fn anonymous() -> Self {
            Self::mapped(None, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS)
        }

        fn of_file(flags: i32) -> Self {
            // SAFETY: the name is a C string.
            let descriptor = unsafe { libc::memfd_create(c"ram".as_ptr(), libc::MFD_CLOEXEC) };
            assert!(descriptor >= 0, "memfd_create: {}", io::Error::last_os_error());
            // SAFETY: the descriptor is open, new, and this function's alone.
            let file = unsafe { File::from_raw_fd(descriptor) };
            file.set_len(bytes() as u64).expect("a size");
            Self::mapped(Some(file), flags)
        }

        fn mapped(file: Option<File>, flags: i32) -> Self {
            let descriptor = file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the kernel chooses a free place.
            let start = unsafe { libc::mmap(ptr::null_mut(), bytes(), protection, flags, descriptor, 0) };
            assert_ne!(start, libc::MAP_FAILED);
            let memory = Self { start: start.cast(), file };
            for page in 0..PAGES {
                // SAFETY: the page is in the memory, which is this value's.
                unsafe { memory.start.add(page * host_page_size() as usize).write_volatile(1) };
            }
            memory
        }

        fn set_len(&self, length: usize) {
            self.file.as_ref().expect("memory with a file").set_len(length as u64).expect("a size");
        }

        /// Takes pages away from this process.
        fn discard(&self, pages: usize) {
            // SAFETY: the pages are in the memory, and nothing needs what is in them.
            let done =
                unsafe { libc::madvise(self.start.cast(), pages * host_page_size() as usize, libc::MADV_DONTNEED) };
            assert_eq!(done, 0);
        }

        /// What is found after `change`.
        fn after(self, change: impl FnOnce(&Self)) -> Result<bool> {
            let process = Arc::new(Process::open(std::process::id()).expect("this process may be read"));
            let start = self.start.addr() as u64;
            let range = ProcessRange { name: "ram".to_owned(), guest_address: 0, start, bytes: bytes() as u64 };
            let ranges = std::slice::from_ref(&range);
            let maps = process.maps().expect("the own maps");
            let mapped =
                MappedRanges::new(Arc::clone(&process), &maps, ranges, host_page_size()).expect("it is mapped");
            let mut kept = KeptPages::of(&process, &maps, ranges, &mapped).expect("looked up");
            assert!(!kept.check().expect("nothing has changed"));
            change(&self);
            kept.check()
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: the mapping is this value's, and nothing points into it.
            unsafe { libc::munmap(self.start.cast(), bytes()) };
        }
    }

    fn expect_gone(found: Result<bool>, expected: &str) {
        let is_it = matches!(&found, Err(Error::ProcessGone { how, .. }) if how.contains(expected));
        assert!(is_it, "{expected}: {found:?}");
    }

    #[test]
    fn a_file_that_has_lost_its_pages_is_noticed_although_its_mapping_is_the_same() {
        for flags in [libc::MAP_SHARED, libc::MAP_PRIVATE] {
            let shorter = host_page_size() as usize;
            expect_gone(Memory::of_file(flags).after(|memory| memory.set_len(bytes() - shorter)), "has shortened");
            let emptied = Memory::of_file(flags).after(|memory| {
                memory.set_len(0);
                memory.set_len(bytes());
            });
            expect_gone(emptied, "has replaced or discarded all memory of 'ram'");
        }
    }

    #[test]
    fn pages_that_only_the_process_has_lost_are_still_in_the_file() {
        for pages in [1, PAGES] {
            let found = Memory::of_file(libc::MAP_SHARED).after(|memory| memory.discard(pages));
            assert!(found.expect("the file has them"), "their bits are lost");
        }
    }

    #[test]
    fn a_private_page_that_the_file_still_has_was_not_written() {
        let found = Memory::of_file(libc::MAP_PRIVATE).after(|memory| {
            let file = memory.file.as_ref().expect("memory with a file");
            file.write_all_at(&vec![1; bytes()], 0).expect("written");
            memory.discard(1);
        });
        assert!(!found.expect("the file has it"));
    }

    #[test]
    fn anonymous_memory_may_lose_pages_but_not_all_of_them() {
        let found = Memory::anonymous().after(|memory| memory.discard(PAGES - 1));
        assert!(!found.expect("one is left"), "the process has discarded them itself");
        expect_gone(Memory::anonymous().after(|memory| memory.discard(PAGES)), "has replaced or discarded");
    }
}
