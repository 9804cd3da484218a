//! Threads of this crate: a signal of the host process is none of theirs.

use std::thread::{Builder, JoinHandle};

use crate::error::{Error, Result};

/// Signals that a thread raises by what it does. Were they blocked, the kernel would end the process where a handler (of Rust's for a
/// stack overflow, of a host's) has something to say.
const OWN: [libc::c_int; 6] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP, libc::SIGSYS];

/// Starts a thread that no signal to the process reaches: they all go to the host's own threads, which expect them. It is known under
/// `name`, of which the kernel keeps 15 bytes.
///
/// # Errors
///
/// [`Error::Limit`] if there may be no more threads.
pub fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    // A thread begins with the mask of its maker: so there is no moment at which a signal could reach it.
    let _blocked = Blocked::all_but_own();
    Builder::new().name(name.to_owned()).spawn(work).map_err(|source| Error::refused("pthread_create", name, source))
}

/// The mask of the calling thread before, which comes back with the drop of this.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all_but_own() -> Self {
        // SAFETY: a set of signals is plain numbers, and each call gets sets that are whole; the numbers are of signals that exist. None
        // of these calls can fail with such arguments.
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
