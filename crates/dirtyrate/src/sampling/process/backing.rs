//! Reads memory that is a file by its file, which maps nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::ptr;

use super::mappings::{Mapping, line_with};
use super::process_fd::Process;
use crate::error::{Error, FailedCall, Result};
use crate::page_size::host_page_size;

/// include/uapi/linux/magic.h.
const HUGETLBFS_MAGIC: i64 = 0x9584_58f6;

/// The file behind a mapping of another process, which is only asked what it has.
#[derive(Debug)]
pub struct BackingFile {
    file: File,
    /// What of the mapping the file had at the beginning, up to this offset.
    end: u64,
}

/// The file behind a mapping of another process, for reading.
#[derive(Debug)]
pub struct Backing {
    of: BackingFile,
    /// The file's addresses in this process, for asking which of its pages are in memory. Nothing is read there, so no
    /// page of it is ever mapped. `None` for huge pages, which are always in memory: mapping them would reserve some.
    window: Option<Window>,
    page_size: u64,
    /// Up to this offset the file is known to have no data, since the last [`forget`](Self::forget).
    hole: Range<u64>,
}

/// What the file has for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilePage {
    /// Nothing was ever written there.
    Hole,
    /// The page is on the disk or in swap only.
    NotInMemory,
    /// The page was read.
    Read,
}

impl BackingFile {
    /// Opens the file behind `mapping`, which is a part of the mappings in `maps`. There is none if the process has
    /// closed it and this process may not use `map_files`, for which it needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
    pub fn open(pid: u32, maps: &str, mapping: &Mapping) -> Option<Self> {
        let by_mapping = line_with(maps, mapping.addresses.start)
            .and_then(|line| open_if(&format!("/proc/{pid}/map_files/{:x}-{:x}", line.start, line.end), mapping));
        let file = by_mapping.or_else(|| {
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
            descriptors.flatten().find_map(|entry| open_if(entry.path().to_str()?, mapping))
        })?;
        let end = file.metadata().ok()?.len().min(mapping.file_offset(mapping.addresses.end));
        Some(Self { file, end })
    }

    /// Fails if the file has lost some of what it had at the beginning. Behind its end it would read as zeros.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessGone`].
    pub fn check(&self, process: &Process) -> Result<()> {
        let found = self.file.metadata();
        let found = found.map_err(|source| Error::refused("fstat", "the file of a process's memory", source))?;
        if found.len() < self.end {
            return Err(process.gone("has shortened the file of memory that is measured"));
        }
        Ok(())
    }

    /// Where the next data of the file begins, from `offset` on.
    pub(crate) fn next_data(&self, offset: u64) -> std::result::Result<u64, FailedCall> {
        // SAFETY: the call moves the file's position, which nothing here uses.
        let found = unsafe { libc::lseek(self.file.as_raw_fd(), offset as libc::off_t, libc::SEEK_DATA) };
        if found >= 0 {
            return Ok(found as u64);
        }
        let error = io::Error::last_os_error();
        // ENXIO: there is no more data.
        if error.raw_os_error() == Some(libc::ENXIO) { Ok(u64::MAX) } else { Err(FailedCall::of("lseek")(error)) }
    }
}

impl Backing {
    /// Opens the file behind `mapping`, as [`BackingFile::open`] does.
    pub fn open(pid: u32, maps: &str, mapping: &Mapping) -> Option<Self> {
        let of = BackingFile::open(pid, maps, mapping)?;
        // Otherwise the kernel would read pages ahead from the disk.
        // SAFETY: the call takes a descriptor and numbers. It is advice, so that a refusal does no harm.
        unsafe { libc::posix_fadvise(of.file.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
        let offsets = mapping.offset..mapping.file_offset(mapping.addresses.end);
        let window = if is_hugetlbfs(&of.file).ok()? { None } else { Some(Window::new(&of.file, offsets).ok()?) };
        Some(Self { of, window, page_size: host_page_size(), hole: 0..0 })
    }

    /// The file itself.
    pub fn file(&self) -> &BackingFile {
        &self.of
    }

    /// Forgets where the file has no data, because that can change.
    pub fn forget(&mut self) {
        self.hole = 0..0;
    }

    /// Reads the page at `offset` into `page` if it is in memory.
    pub(super) fn read(&mut self, offset: u64, page: &mut [u8]) -> std::result::Result<FilePage, FailedCall> {
        if self.hole.contains(&offset) {
            return Ok(FilePage::Hole);
        }
        let in_memory = match &self.window {
            Some(window) => window.is_in_memory(offset, self.page_size).map_err(FailedCall::of("mincore"))?,
            None => true,
        };
        if !in_memory {
            let data = self.of.next_data(offset)?;
            if data < offset + self.page_size {
                return Ok(FilePage::NotInMemory);
            }
            self.hole = offset..data;
            return Ok(FilePage::Hole);
        }
        let mut filled = 0;
        while filled < page.len() {
            match self.of.file.read_at(&mut page[filled..], offset + filled as u64) {
                // Behind the end of the file there are zeros.
                Ok(0) => {
                    page[filled..].fill(0);
                    break;
                }
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FailedCall::of("pread")(error)),
            }
        }
        Ok(FilePage::Read)
    }
}

/// Opens `path` if it is the file of `mapping`. Other files are not opened, because opening a device or a pipe can have
/// effects.
fn open_if(path: &str, mapping: &Mapping) -> Option<File> {
    let is_it = |found: &fs::Metadata| {
        let device = (libc::major(found.dev()), libc::minor(found.dev()));
        found.is_file() && !found.file_type().is_fifo() && found.ino() == mapping.inode && device == mapping.device
    };
    fs::metadata(path).ok().filter(&is_it)?;
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path).ok()?;
    file.metadata().ok().filter(is_it)?;
    Some(file)
}

fn is_hugetlbfs(file: &File) -> io::Result<bool> {
    // SAFETY: all bytes of a statfs may be zero.
    let mut found: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open, and there is room for the answer.
    if unsafe { libc::fstatfs(file.as_raw_fd(), &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(clippy::unnecessary_cast, reason = "the type of f_type depends on the C library")]
    Ok(found.f_type as i64 == HUGETLBFS_MAGIC)
}

/// A part of a file, mapped into this process but never read there.
#[derive(Debug)]
struct Window {
    start: *mut libc::c_void,
    offsets: Range<u64>,
}

// SAFETY: the mapping belongs to the process and not to a thread, and nothing is read or written there.
unsafe impl Send for Window {}

impl Window {
    fn new(file: &File, offsets: Range<u64>) -> io::Result<Self> {
        let (bytes, offset) = ((offsets.end - offsets.start) as usize, offsets.start as libc::off_t);
        // SAFETY: the kernel chooses a free place.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), offset) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { start, offsets }) }
    }

    /// Whether the page cache has the page.
    fn is_in_memory(&self, offset: u64, page_size: u64) -> io::Result<bool> {
        let mut resident = 0_u8;
        let page = self.start.wrapping_byte_add((offset - self.offsets.start) as usize);
        // SAFETY: the page is in this mapping, which nothing is read from; the answer has one byte for one page.
        if unsafe { libc::mincore(page, page_size as usize, &raw mut resident) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(resident & 1 != 0)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and nothing points into it. The call can fail only for a range that was
        // never mapped whole, and a refusal in `drop` could not be reported: the mapping would stay, and harm nothing.
        unsafe { libc::munmap(self.start, (self.offsets.end - self.offsets.start) as usize) };
    }
}
