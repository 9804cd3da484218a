//! A timer that takes a vCPU out of KVM_RUN after some CPU time of its own, however busy the host is.

use std::mem::{MaybeUninit, zeroed};
use std::os::raw::c_int;
use std::ptr::null_mut;
use std::time::Duration;

use dirtyrate::{Error, Result};

/// Kicks the thread that started it, each time when this thread has used so much CPU time, until the timer is dropped.
/// A guest that rests uses no CPU time, so it is left alone. A guest that runs cannot avoid the kick by keeping other
/// threads off the processor.
pub(super) struct RunTimer(libc::timer_t);

impl RunTimer {
    /// Starts a timer for the calling thread, with the kick signal.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if there may be no more pending signals, because each timer counts as one; [`Error::Ioctl`]
    /// otherwise.
    pub fn start(signal: c_int, every: Duration) -> Result<Self> {
        // SAFETY: all zeros is a sigevent, a plain structure; gettid has no precondition.
        let mut event: libc::sigevent = unsafe { zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        // SAFETY: as above.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        let mut timer = MaybeUninit::uninit();
        // SAFETY: the event is whole and the timer's place can be written.
        if unsafe { libc::timer_create(libc::CLOCK_THREAD_CPUTIME_ID, &mut event, timer.as_mut_ptr()) } != 0 {
            return Err(Error::last_ioctl("timer_create", || "a vCPU's run timer".to_owned()));
        }
        // SAFETY: timer_create succeeded and wrote it.
        let timer = Self(unsafe { timer.assume_init() });
        let every = libc::timespec { tv_sec: every.as_secs() as libc::time_t, tv_nsec: every.subsec_nanos().into() };
        let times = libc::itimerspec { it_interval: every, it_value: every };
        // SAFETY: the timer exists, the times are whole, and nobody asks for the old ones.
        if unsafe { libc::timer_settime(timer.0, 0, &times, null_mut()) } != 0 {
            return Err(Error::last_ioctl("timer_settime", || "a vCPU's run timer".to_owned()));
        }
        Ok(timer)
    }
}

impl Drop for RunTimer {
    fn drop(&mut self) {
        // SAFETY: the timer was made in `start`, and nobody else deletes it.
        let result = unsafe { libc::timer_delete(self.0) };
        debug_assert_eq!(result, 0, "a timer of ours can be deleted");
    }
}
