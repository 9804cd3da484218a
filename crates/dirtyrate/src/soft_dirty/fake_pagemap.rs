//! A file in place of the pagemap of a process, so that its bits are what a test says, also on kernels without them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;

use super::bits::SoftDirtyBits;
use crate::sampling::process::Process;

const ENTRY: u64 = 8;

/// Entries of pages from address 0 on. They know no PAGEMAP_SCAN, as a kernel before Linux 6.7.
#[derive(Debug)]
pub struct FakePagemap {
    file: File,
    /// This process, which lives.
    process: Process,
}

impl FakePagemap {
    /// The entries of so many pages, all 0.
    pub fn new(pages: u64) -> Self {
        // SAFETY: the name is a C string; the descriptor is new.
        let descriptor = unsafe { libc::memfd_create(c"pagemap".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(descriptor >= 0, "{}", io::Error::last_os_error());
        // SAFETY: nobody else has the descriptor.
        let file = unsafe { File::from_raw_fd(descriptor) };
        file.set_len(pages * ENTRY).expect("a size");
        Self { file, process: Process::open(std::process::id()).expect("this process may be read") }
    }

    /// Gives pages this entry.
    pub fn set(&self, pages: Range<u64>, entry: u64) {
        let entries = entry.to_ne_bytes().repeat((pages.end - pages.start) as usize);
        self.file.write_all_at(&entries, pages.start * ENTRY).expect("written");
    }

    pub fn bits(&self) -> SoftDirtyBits<'_> {
        SoftDirtyBits::in_file(&self.process, &self.file)
    }
}
