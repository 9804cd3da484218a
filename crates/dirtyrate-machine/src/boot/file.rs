//! A file that is booted: a kernel or an initrd. The file is checked before it is read, and only the needed parts of it
//! are read.

use std::fs::{File, Metadata, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::MachineError;
use dirtyrate::{Error, Result};

/// The most bytes in the name of a file, with its final zero (Linux: PATH_MAX).
const PATH_BYTES: usize = 4096;
/// How much of the beginning of a file is read to find out its format. An ISO image has its mark behind 32 KiB.
const HEAD_BYTES: u64 = 36 << 10;

/// An error about a file.
pub(super) fn refusal(path: &Path, problem: impl Into<String>) -> Error {
    MachineError::KernelImage { path: path.to_owned(), problem: problem.into() }.into()
}

/// Where the bytes of the file are.
enum Contents<'a> {
    File(File),
    Bytes(&'a [u8]),
}

/// A file that is booted.
pub(super) struct BootFile<'a> {
    path: PathBuf,
    contents: Contents<'a>,
    length: u64,
    head: Vec<u8>,
}

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// A number of bytes with data.
    Data(u64),
    /// A number of zeros that the file system does not store.
    Hole(u64),
}

impl<'a> BootFile<'a> {
    /// Opens a file. `part` says what the file is, such as the kernel, for errors. This reads only the beginning of the
    /// file.
    pub fn open(path: &Path, part: &str) -> Result<BootFile<'static>> {
        let name_bytes = path.as_os_str().as_bytes().len();
        if name_bytes >= PATH_BYTES {
            let text = format!("the {part} has a name of {name_bytes} bytes: Linux takes less than {PATH_BYTES}");
            return Err(Error::Argument(text));
        }
        let refuse = |error: std::io::Error| refusal(path, format!("the {part} cannot be read: {error}"));
        // The kind of the file is checked before it is opened, because opening a device may have an effect, and again
        // afterwards, because the name may mean another file by then.
        check_regular(path, part, &std::fs::metadata(path).map_err(refuse)?)?;
        // Without O_NONBLOCK, opening a pipe would wait for its writer.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(refuse)?;
        let metadata = file.metadata().map_err(refuse)?;
        check_regular(path, part, &metadata)?;
        BootFile { path: path.to_owned(), contents: Contents::File(file), length: metadata.len(), head: Vec::new() }
            .with_head()
    }

    /// A file that is in memory; `name` is what errors call it.
    pub fn of_bytes(bytes: &'a [u8], name: &Path) -> Result<Self> {
        let length = bytes.len() as u64;
        Self { path: name.to_owned(), contents: Contents::Bytes(bytes), length, head: Vec::new() }.with_head()
    }

    fn with_head(mut self) -> Result<Self> {
        self.head = self.read(0, self.length.min(HEAD_BYTES))?;
        Ok(self)
    }

    /// How many bytes the file had when it was opened. Bytes that are appended later are not read.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The beginning of the file: [`HEAD_BYTES`], or all of a shorter file.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// An error about this file.
    pub fn refusal(&self, problem: impl Into<String>) -> Error {
        refusal(&self.path, problem)
    }

    /// Reads bytes of the file. The caller has checked that they are not too many.
    pub fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>> {
        let end = offset.checked_add(length).filter(|&end| end <= self.length);
        if end.is_none() {
            return Err(self.refusal(format!("truncated: {length} bytes at {offset:#x} are not all there")));
        }
        let mut bytes = vec![0; length as usize];
        self.read_into(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Fills `into` with the bytes from `offset` on.
    pub fn read_into(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        match &self.contents {
            Contents::File(file) => file.read_exact_at(into, offset).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => self.became_shorter(),
                _ => self.refusal(format!("it cannot be read: {error}")),
            }),
            Contents::Bytes(bytes) => {
                let start = offset as usize;
                let there = bytes.get(start..).and_then(|rest| rest.get(..into.len()));
                into.copy_from_slice(there.ok_or_else(|| self.became_shorter())?);
                Ok(())
            }
        }
    }

    /// The data or the hole at `offset`, at most `length` bytes long. If the file system cannot say where holes are,
    /// everything counts as data.
    pub fn extent(&self, offset: u64, length: u64) -> Result<Extent> {
        let Contents::File(file) = &self.contents else { return Ok(Extent::Data(length)) };
        match seek(file, offset, libc::SEEK_DATA) {
            Ok(data) if data > offset => Ok(Extent::Hole(length.min(data - offset))),
            Ok(_) => {
                let hole = seek(file, offset, libc::SEEK_HOLE).unwrap_or(u64::MAX);
                Ok(Extent::Data(length.min(hole.saturating_sub(offset).max(1))))
            }
            // There is no data from here on, or the file has become shorter.
            Err(libc::ENXIO) => {
                let now = file.metadata().map_err(|error| self.refusal(format!("it cannot be read: {error}")))?.len();
                if now < offset + length { Err(self.became_shorter()) } else { Ok(Extent::Hole(length)) }
            }
            Err(_) => Ok(Extent::Data(length)),
        }
    }

    fn became_shorter(&self) -> Error {
        self.refusal(
            "it ended before its size: it became shorter while it was read, or is a file of /sys; give a complete copy",
        )
    }
}

fn seek(file: &File, offset: u64, whence: libc::c_int) -> std::result::Result<u64, libc::c_int> {
    let Ok(offset) = libc::off_t::try_from(offset) else { return Err(libc::ENXIO) };
    // SAFETY: the descriptor is open, and nobody else uses its position.
    let found = unsafe { libc::lseek(file.as_raw_fd(), offset, whence) };
    u64::try_from(found).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn check_regular(path: &Path, part: &str, metadata: &Metadata) -> Result<()> {
    let kind = metadata.file_type();
    let text = if kind.is_file() {
        if metadata.len() > 0 {
            return Ok(());
        }
        format!("the {part} is empty, or a file of /proc or /sys that does not say its size: give a copy of that")
    } else {
        let found = match kind {
            kind if kind.is_dir() => "a directory",
            kind if kind.is_fifo() => "a pipe",
            kind if kind.is_socket() => "a socket",
            _ => "a device",
        };
        format!("the {part} is {found}, not a regular file")
    };
    Err(refusal(path, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8], length: u64) -> (BootFile<'static>, File) {
        let path = std::env::temp_dir().join(format!("dirtyrate-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).expect("a file");
        let handle = OpenOptions::new().write(true).open(&path).expect("the file");
        handle.set_len(length).expect("its length");
        let file = BootFile::open(&path, "kernel").expect("it opens");
        std::fs::remove_file(&path).expect("clean-up");
        (file, handle)
    }

    #[test]
    fn a_file_that_becomes_shorter_is_an_error_and_one_that_grows_is_what_it_was() {
        let (file, handle) = file("shorter", &[7; 100_000], 100_000);
        handle.set_len(200_000).expect("longer");
        assert_eq!(file.length(), 100_000);
        assert!(file.read(0, 200_000).is_err(), "more than it had");
        handle.set_len(50_000).expect("shorter");
        let text = file.read(0, 100_000).expect_err("shorter").to_string();
        assert!(text.contains("became shorter while it was read"), "{text}");
        // And where there seems to be a hole.
        let text = file.extent(60_000, 40_000).expect_err("shorter").to_string();
        assert!(text.contains("became shorter while it was read"), "{text}");
    }

    #[test]
    fn what_is_not_stored_is_a_hole_where_the_file_system_says_so() {
        let (file, _) = file("holes", &[7; 4096], 1 << 30);
        let mut data = 0;
        let mut at = 0;
        while at < file.length() {
            match file.extent(at, file.length() - at).expect("an extent") {
                Extent::Data(length) => {
                    data += length;
                    at += length;
                }
                Extent::Hole(length) => at += length,
            }
        }
        assert_eq!(at, file.length());
        // Whole blocks of the file system; all of it where that has no holes.
        assert!(data == file.length() || (4096..1 << 20).contains(&data), "{data} bytes of data");
    }
}
