//! Calls that a signal must not end early.

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
