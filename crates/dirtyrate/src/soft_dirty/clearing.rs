//! Clears the soft-dirty bits of a process.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};
use crate::sampling::process::Process;

/// The command that clears the soft-dirty bits: Documentation/filesystems/proc.rst.
const SOFT_DIRTY: &[u8] = b"4";

/// The right to clear the bits of a process, which only one measurement has at a time.
#[derive(Debug)]
pub struct Clearing<'a> {
    process: &'a Process,
    file: File,
}

impl<'a> Clearing<'a> {
    /// Takes the right. Other programs need not ask for it: they are noticed by the [tripwire](super::tripwire) only.
    pub fn of(process: &'a Process) -> Result<Self> {
        let path = format!("/proc/{}/clear_refs", process.pid());
        let file = OpenOptions::new().write(true).open(&path).map_err(|source| match process.check() {
            Err(gone) => gone,
            Ok(()) => Error::process_refused(process.pid(), "open", path.clone(), source),
        })?;
        // The process lives, so that the file, which was opened by its number, is its own.
        process.check()?;
        // SAFETY: the call takes a descriptor and a number, and does not wait.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            let error = io::Error::last_os_error();
            return Err(match error.raw_os_error() {
                Some(libc::EWOULDBLOCK) => Error::ProcessBusy { pid: process.pid() },
                // No right to the process is needed for this call.
                _ => Error::refused("flock", path, error),
            });
        }
        Ok(Self { process, file })
    }

    /// Clears the bits of all pages of the process.
    pub fn clear(&self) -> Result<()> {
        match self.file.write_at(SOFT_DIRTY, 0) {
            Ok(_) => {
                self.process.note_cleared();
                self.process.check()
            }
            Err(source) => {
                self.process.check()?;
                Err(Error::refused("pwrite", format!("/proc/{}/clear_refs", self.process.pid()), source))
            }
        }
    }
}
