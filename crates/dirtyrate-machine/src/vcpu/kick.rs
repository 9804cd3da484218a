//! A kick, which takes one vCPU out of KVM_RUN.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use kvm_ioctls::{VcpuFd, VmFd};

use super::kick_signals::KickSignals;
use dirtyrate::locks::{Mutex, lock};
use dirtyrate::{Error, Result};

/// Ends a vCPU's KVM_RUN: the current one, or the next one if the vCPU is outside.
pub trait Kick: Send + Sync {
    /// Notes that the calling thread is the thread of the vCPU from now on.
    fn begin(&self);
    /// Notes that the thread of the vCPU ends.
    fn end(&self);
    /// Lets the next KVM_RUN run. The vCPU's own thread calls this, while no other thread can ask the vCPU to stop.
    fn clear(&self);
    /// Ends KVM_RUN. The caller must have made its request to the vCPU before.
    ///
    /// # Errors
    ///
    /// If the signal was refused. Then a vCPU that is inside KVM_RUN stays there until it leaves by itself.
    fn kick(&self) -> Result<()>;
}

/// Kicks by `immediate_exit` and a signal. If the kernel refuses the first kick signal, it uses the second one.
pub(super) struct ThreadKick {
    /// A second mapping of the vCPU's kvm_run page, for `immediate_exit`.
    run_page: Mutex<VcpuFd>,
    /// The vCPU's thread while it is alive, and never a thread that was joined.
    thread: Mutex<Option<libc::pthread_t>>,
    signals: KickSignals,
}

impl ThreadKick {
    pub fn new(vm: &VmFd, vcpu: &VcpuFd, signals: KickSignals) -> Result<Self> {
        // SAFETY: F_DUPFD_CLOEXEC takes no pointer; the descriptor is open, as `vcpu` owns it.
        let fd = unsafe { libc::fcntl(vcpu.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 {
            return Err(Error::last_ioctl("fcntl(F_DUPFD_CLOEXEC)", || "a vCPU's descriptor".to_owned()));
        }
        // SAFETY: the descriptor was just made, and nobody else owns it.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: it is a vCPU of `vm`, and ownership goes to the wrapper.
        let run_page = unsafe { vm.create_vcpu_from_rawfd(owned.into_raw_fd()) }
            .map_err(|errno| Error::ioctl("mmap", "a vCPU's kvm_run", errno))?;
        Ok(Self { run_page: Mutex::new(run_page), thread: Mutex::new(None), signals })
    }
}

impl Kick for ThreadKick {
    fn begin(&self) {
        // SAFETY: pthread_self has no precondition.
        *lock(&self.thread) = Some(unsafe { libc::pthread_self() });
    }

    fn end(&self) {
        *lock(&self.thread) = None;
    }

    fn clear(&self) {
        lock(&self.run_page).set_kvm_immediate_exit(0);
    }

    fn kick(&self) -> Result<()> {
        lock(&self.run_page).set_kvm_immediate_exit(1);
        // The flag must be set before the signal is sent, so that a vCPU thread that misses one of the two sees the
        // other.
        fence(Ordering::SeqCst);
        let Some(thread) = *lock(&self.thread) else { return Ok(()) };
        let mut outcome = Ok(());
        for signal in self.signals.all() {
            // SAFETY: the thread takes its entry away before it ends, and is joined after that, so it can be named
            // here; and if it has just taken the entry away, it is not in KVM_RUN.
            let errno = unsafe { libc::pthread_kill(thread, signal) };
            if errno == 0 {
                return Ok(());
            }
            let source = io::Error::from_raw_os_error(errno);
            outcome = outcome.and_then(|()| Err(Error::refused("pthread_kill", format!("signal {signal}"), source)));
        }
        outcome
    }
}
