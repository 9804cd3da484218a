//! Another process, held so that neither its end nor another program in its place goes unnoticed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, FailedCall, Result};

/// Another process, and files of its address space.
///
/// A pidfd tells when the process has ended, and keeps its number from meaning another process. An exec changes neither
/// the number nor the pidfd, but gives the process a new address space; files of `/proc` that are open stay with the
/// old one, and read 0 bytes from then on.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
    pagemap: File,
    maps: Mutex<File>,
    stat: File,
    /// Whether this process has cleared the soft-dirty bits of that one.
    cleared: AtomicBool,
}

impl Process {
    /// Opens the process with the number `pid`, as this process sees the numbers.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessAbsent`] if there is no such process; [`Error::ProcessPermission`] if its memory may not be
    /// read; [`Error::Limit`] if there may be no more open files; [`Error::Unsupported`] before Linux 5.3;
    /// [`Error::ProcessGone`] if it ends just now.
    pub fn open(pid: u32) -> Result<Self> {
        let pidfd = pidfd_open(pid)?;
        if number_in_proc(pidfd.as_fd())?.is_some_and(|number| number != i64::from(pid)) {
            return Err(Error::ProcessAbsent { pid, other_namespace: true });
        }
        let open = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            File::open(&path).map_err(|source| match source.raw_os_error() {
                Some(libc::ENOENT | libc::ESRCH) => Error::ProcessAbsent { pid, other_namespace: false },
                _ => Error::process_refused(pid, "open", path, source),
            })
        };
        let (maps, pagemap, stat) = (Mutex::new(open("maps")?), open("pagemap")?, open("stat")?);
        let process = Self { pid, pidfd, maps, pagemap, stat, cleared: AtomicBool::new(false) };
        // If the process still lives, the files that were opened by its number are its own.
        process.check()?;
        process.check_readable()?;
        Ok(process)
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Fails if the process has ended, or has executed another program. This is one call of the kernel.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessGone`].
    pub fn check(&self) -> Result<()> {
        let has = has_address_space(&self.pagemap);
        if has.map_err(|source| Error::refused("pread", format!("/proc/{}/pagemap", self.pid), source))? {
            return Ok(());
        }
        // A process that is ending gives up its address space before its pidfd tells the end. One that has executed
        // another program has a new address space.
        let another = File::open(format!("/proc/{}/pagemap", self.pid)).and_then(|file| has_address_space(&file));
        let has_another = another.unwrap_or(false);
        Err(self.gone(if has_another && !self.has_ended() { "has executed another program" } else { "has ended" }))
    }

    /// Does what [`check`](Self::check) does, and fails also if a signal or a debugger has stopped the process: its
    /// guest writes nothing then, and a figure would say nothing about it. `when` ends the sentence.
    ///
    /// # Errors
    ///
    /// [`Error::ProcessGone`]; [`Error::Paused`].
    pub(crate) fn check_running(&self, when: &str) -> Result<()> {
        self.check()?;
        match self.is_stopped() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::Paused(format!("process {} {when}, so its guest wrote nothing", self.pid))),
            Err(source) => {
                self.check()?;
                Err(Error::refused("pread", format!("/proc/{}/stat", self.pid), source))
            }
        }
    }

    /// Whether a signal or a debugger has stopped the process.
    fn is_stopped(&self) -> io::Result<bool> {
        // The line begins with the number and the name, which has at most 64 bytes.
        let mut line = [0; 256];
        let read = self.stat.read_at(&mut line, 0)?;
        let state = state_in(&line[..read]).ok_or(io::ErrorKind::InvalidData)?;
        Ok(matches!(state, b'T' | b't'))
    }

    /// The error for a process that is no longer what it was.
    pub(super) fn gone(&self, how: &str) -> Error {
        Error::ProcessGone { pid: self.pid, how: how.to_owned() }
    }

    /// `/proc/PID/pagemap`.
    pub(crate) fn pagemap(&self) -> &File {
        &self.pagemap
    }

    /// The text of `/proc/PID/maps`.
    pub(crate) fn maps(&self) -> Result<String> {
        let mut text = Vec::new();
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        let read = maps.seek(SeekFrom::Start(0)).and_then(|_| maps.read_to_end(&mut text));
        self.check()?;
        match read {
            // The name of a file need not be UTF-8.
            Ok(_) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(source) => Err(Error::process_refused(self.pid, "read", format!("/proc/{}/maps", self.pid), source)),
        }
    }

    /// A copy of one of the process's descriptors, by its number there.
    pub(crate) fn copy_descriptor(&self, number: i32) -> io::Result<File> {
        // SAFETY: the call takes numbers, and gives a new descriptor or an error.
        let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.pidfd.as_raw_fd(), number, 0) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, and nobody else has it.
        Ok(unsafe { File::from_raw_fd(copy as i32) })
    }

    /// Whether its soft-dirty bits were cleared through this object.
    pub(crate) fn was_cleared(&self) -> bool {
        self.cleared.load(Ordering::Relaxed)
    }

    /// Notes that its soft-dirty bits were cleared.
    pub(crate) fn note_cleared(&self) {
        self.cleared.store(true, Ordering::Relaxed);
    }

    /// Whether the process has ended; a zombie has.
    fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: there is one entry, and the call does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    /// Asks for permission by a read at the address 0, which nothing is mapped at: the kernel checks the permission
    /// first.
    fn check_readable(&self) -> Result<()> {
        let mut byte = 0_u8;
        let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let remote = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 1 };
        // SAFETY: the local part is a byte of this function; the remote part is read only.
        let read =
            unsafe { libc::process_vm_readv(self.pid as libc::pid_t, &raw const local, 1, &raw const remote, 1, 0) };
        let source = io::Error::last_os_error();
        if read < 0 && matches!(source.raw_os_error(), Some(libc::EPERM | libc::EACCES | libc::ENOSYS)) {
            return Err(self.refused(source));
        }
        self.check()
    }

    /// The error for a `process_vm_readv` that is not allowed.
    pub(super) fn refused(&self, source: io::Error) -> Error {
        Error::ProcessPermission { pid: self.pid, call: "process_vm_readv", context: String::new(), source }
    }
}

/// The letter of the state in `/proc/PID/stat`. It follows the name in brackets, which may have brackets itself.
fn state_in(line: &[u8]) -> Option<u8> {
    let end = line.iter().rposition(|&byte| byte == b')')?;
    line.get(end + 2).copied()
}

/// Whether the address space of a pagemap still exists.
fn has_address_space(pagemap: &File) -> io::Result<bool> {
    Ok(pagemap.read_at(&mut [0; 8], 0)? == 8)
}

fn pidfd_open(pid: u32) -> Result<OwnedFd> {
    // SAFETY: the call takes two numbers, and gives a new descriptor or an error.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
    if descriptor >= 0 {
        // SAFETY: the descriptor is new, and nobody else has it.
        return Ok(unsafe { OwnedFd::from_raw_fd(descriptor as i32) });
    }
    let source = io::Error::last_os_error();
    match source.raw_os_error() {
        // EINVAL: no process can have this number; ENOENT: it is a thread of another process.
        Some(libc::ESRCH | libc::EINVAL | libc::ENOENT) => {
            let other_namespace = fs::exists(format!("/proc/{pid}/maps")).unwrap_or(false);
            Err(Error::ProcessAbsent { pid, other_namespace })
        }
        Some(libc::ENOSYS) => {
            Err(Error::Unsupported("sampling another process needs Linux 5.3 (pidfd_open)".to_owned()))
        }
        _ => Err(Error::process_refused(pid, "pidfd_open", format!("process {pid}"), source)),
    }
}

/// The number of the process of a pidfd in the pid namespace of `/proc`, which can be another one than this process's.
/// `None` where this process may not know it.
fn number_in_proc(pidfd: BorrowedFd<'_>) -> Result<Option<i64>> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let mut text = String::new();
    let read = File::open(&path)
        .map_err(FailedCall::of("open"))
        .and_then(|mut file| file.read_to_string(&mut text).map_err(FailedCall::of("read")));
    match read {
        Ok(_) => {
            let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
            Ok(number.and_then(|number| number.trim().parse().ok()))
        }
        Err(failed) if failed.is_about_access() => Ok(None),
        Err(failed) => Err(failed.about(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_behind_the_last_bracket() {
        assert_eq!(state_in(b"17 (sleep) T 1 17 17 0 -1"), Some(b'T'));
        assert_eq!(state_in(b"17 (a) T (b) S 1 17 17 0 -1"), Some(b'S'));
        assert_eq!(state_in(b"17 (sleep)"), None);
        assert_eq!(state_in(b""), None);
    }
}
