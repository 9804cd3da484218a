//! What the vCPU threads of a VM and those who ask something of them share.

use std::cell::Cell;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::raw::c_int;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};

use kvm_ioctls::{VcpuFd, VmFd};

use super::{Crash, RingExits, RunState};
use crate::error::{Error, Result};
use crate::kvm::kick;
use crate::sync::{Condvar, Mutex, MutexGuard, lock, wait};

#[derive(Debug)]
pub(super) struct State {
    pub run: RunState,
    /// Holds of [`Vcpus::hold`], which stop the vCPUs without changing what the VM is doing.
    pub holds: usize,
    /// Threads that may be inside KVM_RUN.
    pub running: usize,
    /// Threads that have not ended.
    pub alive: usize,
    /// How often the guest was stopped by request: whoever measures compares it before and after.
    pub pauses: u64,
    pub crash: Option<Crash>,
}

impl State {
    pub fn may_run(&self) -> bool {
        self.run == RunState::Running && self.holds == 0
    }

    pub fn ended(&self) -> bool {
        matches!(self.run, RunState::Shutdown | RunState::Crashed)
    }
}

/// What it takes to get one vCPU out of KVM_RUN.
pub(super) struct Kick {
    /// A second view of the vCPU's kvm_run page, for `immediate_exit`.
    pub run_page: Mutex<VcpuFd>,
    /// The vCPU's thread, while it is alive: never a thread that was joined.
    pub thread: Mutex<Option<libc::pthread_t>>,
}

pub(super) struct Shared {
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub kicks: Vec<Kick>,
    pub signal: c_int,
    /// Of a VM with dirty rings.
    pub ring_exits: OnceLock<Box<dyn RingExits>>,
}

impl Shared {
    /// Of a VM that was only created.
    pub fn new(vm: &VmFd, vcpus: &[VcpuFd]) -> Result<Self> {
        let state = State { run: RunState::Created, holds: 0, running: 0, alive: 0, pauses: 0, crash: None };
        Ok(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            kicks: vcpus.iter().map(|vcpu| kick_of(vm, vcpu)).collect::<Result<_>>()?,
            signal: kick::signal()?,
            ring_exits: OnceLock::new(),
        })
    }

    /// Takes every vCPU out of KVM_RUN. The request was made under the lock before.
    pub fn kick(&self) {
        self.changed.notify_all();
        for kick in &self.kicks {
            lock(&kick.run_page).set_kvm_immediate_exit(1);
            // The flag must be there before the signal: whoever misses one sees the other.
            fence(Ordering::SeqCst);
            if let Some(thread) = *lock(&kick.thread) {
                // SAFETY: the thread takes its entry away under this lock before it ends, so it is alive here.
                let result = unsafe { libc::pthread_kill(thread, self.signal) };
                debug_assert_eq!(result, 0, "a living thread can be signalled");
            }
        }
    }

    pub fn check_not_vcpu(&self) -> Result<()> {
        if VCPU_OF.get() == std::ptr::from_ref(self) {
            return Err(Error::State("a vCPU's own thread cannot wait for the vCPUs to stop".to_owned()));
        }
        Ok(())
    }

    /// Waits until no vCPU is inside KVM_RUN, or until they may run again: whoever asked them to stop was overruled.
    pub fn wait_parked<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.running > 0 && !state.may_run() {
            state = wait(&self.changed, state);
        }
        state
    }

    /// Ends the VM, because of `crash` or as asked for, unless it ended already.
    pub fn end(&self, crash: Option<Crash>) {
        let mut state = lock(&self.state);
        if !state.ended() {
            if let Some(crash) = &crash {
                tracing::error!(vcpu = crash.vcpu, reason = %crash.reason, "vCPU ended unexpectedly");
            }
            state.run = if crash.is_some() { RunState::Crashed } else { RunState::Shutdown };
            state.crash = crash;
            state.pauses += 1;
        }
        drop(state);
        self.kick();
    }
}

thread_local! {
    /// The VM that this thread is a vCPU of, by its address.
    pub(super) static VCPU_OF: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

/// Stops the vCPUs of a VM for a moment, from anywhere.
#[derive(Clone)]
pub struct Holder(pub(super) Arc<Shared>);

impl Holder {
    /// Runs `work` while no vCPU runs, without changing the VM's state. Holds nest across threads.
    ///
    /// # Errors
    ///
    /// [`Error::State`] on a vCPU's own thread, which cannot wait for itself.
    pub fn hold<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        struct Hold<'a>(&'a Shared);
        impl Drop for Hold<'_> {
            fn drop(&mut self) {
                lock(&self.0.state).holds -= 1;
                self.0.changed.notify_all();
            }
        }
        self.0.check_not_vcpu()?;
        lock(&self.0.state).holds += 1;
        let _hold = Hold(&self.0);
        self.0.kick();
        drop(self.0.wait_parked(lock(&self.0.state)));
        Ok(work())
    }
}

fn kick_of(vm: &VmFd, vcpu: &VcpuFd) -> Result<Kick> {
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
    Ok(Kick { run_page: Mutex::new(run_page), thread: Mutex::new(None) })
}
