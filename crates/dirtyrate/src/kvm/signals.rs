//! Calls that a signal must not end early.

use vmm_sys_util::errno;

/// How often a call is tried again that a signal ended early: far more often than signals come, and not for ever.
const MOST_TRIES: u32 = 1000;

/// Makes a call of the kernel's that a signal may end early (EINTR): that has been delivered before the next try.
pub(super) fn again<T>(mut call: impl FnMut() -> Result<T, errno::Error>) -> Result<T, errno::Error> {
    for _ in 1..MOST_TRIES {
        match call() {
            Err(error) if error.errno() == libc::EINTR => {}
            done => return done,
        }
    }
    call()
}

/// Runs `call` with all signals of the calling thread held back; those that come meanwhile are delivered after it. What cannot be held
/// back is what stops a thread whatever it does: SIGKILL, SIGSTOP, a debugger, a freezer.
pub(super) fn held_back<T>(call: impl FnOnce() -> T) -> T {
    let _mask = Mask::set(u64::MAX);
    call()
}

/// The mask that was there before, which comes back with the drop of this. As the kernel has it: the C library's leaves out the signals
/// that it sends itself, such as that of setuid.
struct Mask(u64);

impl Mask {
    fn set(mask: u64) -> Self {
        let mut before = 0u64;
        // SAFETY: both are the kernel's sets of 64 signals, whose size is the last argument; it reads the one and writes the other. It
        // fails for an unknown first argument or another size only.
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
            let result = again(|| {
                calls += 1;
                if calls > after { Ok(calls) } else { Err(errno::Error::new(errno)) }
            });
            (result.map_err(|error| error.errno()), calls)
        };
        assert_eq!(answer(0, libc::EINTR), (Ok(1), 1));
        assert_eq!(answer(7, libc::EINTR), (Ok(8), 8));
        assert_eq!(answer(1, libc::EAGAIN), (Err(libc::EAGAIN), 1));
        assert_eq!(answer(u32::MAX, libc::EINTR), (Err(libc::EINTR), MOST_TRIES));
    }

    #[test]
    fn what_comes_meanwhile_comes_after_it() {
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
