//! Calls that a signal must not end early.

use std::mem::MaybeUninit;

/// Runs `call` with all signals of the calling thread held back; those that come meanwhile are delivered after it. What cannot be held
/// back (SIGKILL, SIGSTOP) and a freezer still get through.
pub(super) fn held_back<T>(call: impl FnOnce() -> T) -> T {
    let _mask = Mask::of_all();
    call()
}

/// The mask that was there before, which comes back with the drop of this.
struct Mask(libc::sigset_t);

impl Mask {
    fn of_all() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset writes the whole set, to a place that has room for it.
        unsafe { libc::sigfillset(all.as_mut_ptr()) };
        // SAFETY: both are sets, the first one filled above; the second one is written. It fails for an unknown first argument only, and
        // SIG_SETMASK is known.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
        // SAFETY: pthread_sigmask wrote it.
        Self(unsafe { before.assume_init() })
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        // SAFETY: the set is the one that pthread_sigmask wrote; where the present one would go is null, which it may be.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
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
