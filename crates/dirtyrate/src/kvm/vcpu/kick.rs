//! What takes one vCPU out of KVM_RUN.

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::raw::c_int;
use std::sync::atomic::{Ordering, fence};

use kvm_ioctls::{VcpuFd, VmFd};

use crate::error::{Error, Result};
use crate::sync::{Mutex, lock};

/// Ends a vCPU's KVM_RUN: the one that it is in, or if it is in none, the next.
pub trait Kick: Send + Sync {
    /// The calling thread is the vCPU's from now on.
    fn begin(&self);
    /// It is no more.
    fn end(&self);
    /// The next KVM_RUN is not to end at once. Called on the vCPU's own thread, while nobody can ask it to stop.
    fn clear(&self);
    /// Ends KVM_RUN. The request that it is for was made before.
    fn kick(&self);
}

/// By `immediate_exit` and a signal.
pub(super) struct ThreadKick {
    /// A second view of the vCPU's kvm_run page, for `immediate_exit`.
    run_page: Mutex<VcpuFd>,
    /// The vCPU's thread, while it is alive: never a thread that was joined.
    thread: Mutex<Option<libc::pthread_t>>,
    signal: c_int,
}

impl ThreadKick {
    pub fn new(vm: &VmFd, vcpu: &VcpuFd, signal: c_int) -> Result<Self> {
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
        Ok(Self { run_page: Mutex::new(run_page), thread: Mutex::new(None), signal })
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

    fn kick(&self) {
        lock(&self.run_page).set_kvm_immediate_exit(1);
        // The flag must be there before the signal: whoever misses one sees the other.
        fence(Ordering::SeqCst);
        if let Some(thread) = *lock(&self.thread) {
            // SAFETY: the thread takes its entry away under this lock before it ends, so it is alive here.
            let result = unsafe { libc::pthread_kill(thread, self.signal) };
            debug_assert_eq!(result, 0, "a living thread can be signalled");
        }
    }
}
