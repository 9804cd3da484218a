//! Calls that a signal must not end early.

use vmm_sys_util::errno;

/// How often a call is repeated that a signal ends early. After each attempt the signal has been delivered, so only a
/// kernel that always answers EINTR comes to this limit.
const MOST_ATTEMPTS: u32 = 1000;

/// Makes a call, and repeats it as long as a signal ends it early (EINTR), at most a thousand times. The kernel
/// documents EAGAIN for none of the calls that are made through this function.
///
/// # Errors
///
/// Those of `call`, and EINTR for a call that is interrupted every time.
pub fn uninterrupted<T>(mut call: impl FnMut() -> errno::Result<T>) -> errno::Result<T> {
    for _ in 1..MOST_ATTEMPTS {
        match call() {
            Err(errno) if errno.errno() == libc::EINTR => {}
            outcome => return outcome,
        }
    }
    call()
}

/// Runs `call` while all signals of the calling thread are blocked. Signals that arrive meanwhile are delivered after
/// it. SIGKILL, SIGSTOP, a debugger and a freezer cannot be blocked: they stop a thread at any time.
pub(super) fn held_back<T>(call: impl FnOnce() -> T) -> T {
    let _mask = Mask::set(u64::MAX);
    call()
}

/// The signal mask from before. Dropping this restores it. The system call is made directly, because the C library
/// never blocks the signals that it uses itself, such as the one for setuid.
struct Mask(u64);

impl Mask {
    fn set(mask: u64) -> Self {
        let mut before = 0u64;
        // SAFETY: both are the kernel's sets of 64 signals, whose size is the last argument; it reads the one and
        // writes the other. It fails for an unknown first argument or another size only.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const mask,
                &raw mut before,
                size_of::<u64>(),
            )
        };
        Self(before)
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        std::mem::forget(Self::set(self.0));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use vmm_sys_util::signal::register_signal_handler;

    use super::*;

    static ARRIVED: AtomicU32 = AtomicU32::new(0);

    extern "C" fn arrived(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        ARRIVED.fetch_add(1, Ordering::SeqCst);
    }

    #[test]
    fn a_call_that_a_signal_ended_is_made_again_but_not_for_ever() {
        let answer = |after: u32, errno| {
            let mut calls = 0;
            let result = uninterrupted(|| {
                calls += 1;
                if calls > after { Ok(calls) } else { Err(errno::Error::new(errno)) }
            });
            (result.map_err(|error| error.errno()), calls)
        };
        assert_eq!(answer(0, libc::EINTR), (Ok(1), 1));
        assert_eq!(answer(7, libc::EINTR), (Ok(8), 8));
        assert_eq!(answer(1, libc::EAGAIN), (Err(libc::EAGAIN), 1));
        assert_eq!(answer(u32::MAX, libc::EINTR), (Err(libc::EINTR), MOST_ATTEMPTS));
    }

    #[test]
    fn signals_that_are_held_back_arrive_after_the_call() {
        register_signal_handler(libc::SIGURG, arrived).expect("the signal is free");
        let raise = || {
            // SAFETY: the signal has a handler that only counts.
            assert_eq!(unsafe { libc::raise(libc::SIGURG) }, 0);
            ARRIVED.load(Ordering::SeqCst)
        };
        assert_eq!(held_back(raise), 0);
        assert_eq!(ARRIVED.load(Ordering::SeqCst), 1);
        assert_eq!(raise(), 2, "and not any longer");
    }
}
