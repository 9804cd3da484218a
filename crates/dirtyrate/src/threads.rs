//! Starts the threads of this crate, which no signal to the host process reaches.

use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};

/// Signals that a thread causes by its own instructions. They stay unblocked, because the kernel ends the process if
/// such a signal is blocked, and does not call its handler (Rust's handler for a stack overflow, or one of the host).
const OWN: [libc::c_int; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// Starts a thread that no signal to the process reaches, so that all signals go to the host's own threads, which
/// expect them. The kernel keeps 15 bytes of `name`.
///
/// # Errors
///
/// [`Error::Limit`] if there may be no more threads.
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    // A thread inherits the mask of the thread that starts it, so that a signal cannot reach it at any moment.
    let _blocked = Blocked::all_but_own();
    Builder::new().name(name.to_owned()).spawn(work).map_err(|source| Error::refused("pthread_create", name, source))
}

/// The mask that the calling thread had before. Dropping this restores it.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all_but_own() -> Self {
        // SAFETY: a set of signals is plain numbers, and each call gets sets that are whole; the numbers are of signals
        // that exist. None of these calls can fail with such arguments.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            for signal in OWN {
                libc::sigdelset(&mut all, signal);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Self(before)
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is what pthread_sigmask gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}
