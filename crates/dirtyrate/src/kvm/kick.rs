//! The signal that takes a vCPU thread out of KVM_RUN.

use std::os::raw::c_int;
use std::sync::OnceLock;

use vmm_sys_util::signal::{SIGRTMAX, SIGRTMIN, register_signal_handler};

use crate::error::{Error, Result};

extern "C" fn interrupt(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // Nothing to do: its arrival is what makes KVM_RUN return EINTR.
}

/// The process's kick signal: the first real-time signal that nobody handles. It is chosen once. Never SIGUSR1 (the
/// inspector of Node.js) or SIGPROF (its profiler).
pub fn signal() -> Result<c_int> {
    static CHOSEN: OnceLock<std::result::Result<c_int, String>> = OnceLock::new();
    CHOSEN.get_or_init(choose).clone().map_err(Error::Unsupported)
}

fn choose() -> std::result::Result<c_int, String> {
    for number in SIGRTMIN()..=SIGRTMAX() {
        let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: with a null new action, sigaction only writes the current one, to a place that has room for it.
        if unsafe { libc::sigaction(number, std::ptr::null(), current.as_mut_ptr()) } != 0 {
            continue;
        }
        // SAFETY: sigaction succeeded and wrote the whole structure.
        if unsafe { current.assume_init() }.sa_sigaction != libc::SIG_DFL {
            continue;
        }
        return register_signal_handler(number, interrupt)
            .map(|()| number)
            .map_err(|error| format!("signal {number} could not be taken for kicking vCPUs: {error}"));
    }
    Err("every real-time signal has a handler already: none is left for kicking vCPUs".to_owned())
}

/// Lets the kick signal reach the calling thread, whatever mask it inherited.
pub fn unblock(signal: c_int) -> Result<()> {
    vmm_sys_util::signal::unblock_signal(signal)
        .map_err(|error| Error::Unsupported(format!("signal {signal} could not be unblocked: {error}")))
}
