//! One vCPU's thread.

use std::time::{Duration, Instant};

use kvm_bindings::{KVM_EXIT_DIRTY_RING_FULL, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::shared::{Shared, VCPU_OF};
use super::timer::RunTimer;
use super::{Crash, ExitHandler, Step};
use crate::kvm::{arch, kick};
use crate::sync::{lock, wait, wait_timeout};

/// How long a vCPU rests whose dirty ring is full: about what a harvest of it takes.
const RING_FULL_REST: Duration = Duration::from_micros(200);

/// One vCPU's thread.
pub(super) struct Thread<'a> {
    pub id: usize,
    pub vcpu: VcpuFd,
    pub shared: &'a Shared,
    pub exits: &'a dyn ExitHandler,
}

/// A vCPU that may be inside KVM_RUN, until this is dropped: also by a panic of a device.
struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).running -= 1;
        self.0.changed.notify_all();
    }
}

impl<'a> Thread<'a> {
    pub fn main(mut self) {
        VCPU_OF.set(std::ptr::from_ref(self.shared));
        // SAFETY: pthread_self has no precondition.
        *lock(&self.shared.kicks[self.id].thread) = Some(unsafe { libc::pthread_self() });
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match kick::unblock(self.shared.signal) {
            Ok(()) => {
                let _timer = self.start_timer();
                while let Some(_inside) = self.enter() {
                    self.run();
                }
            }
            Err(error) => self.crash(error.to_string()),
        }));
        if ran.is_err() {
            self.crash("its thread panicked".to_owned());
        }
        *lock(&self.shared.kicks[self.id].thread) = None;
        let mut state = lock(&self.shared.state);
        state.alive -= 1;
        if state.alive == 0 {
            drop(state);
            self.exits.ended();
        }
    }

    /// Waits until the vCPU may run; `None` when the VM has ended.
    fn enter(&self) -> Option<Inside<'a>> {
        let mut state = lock(&self.shared.state);
        loop {
            if state.ended() {
                return None;
            }
            if state.may_run() {
                state.running += 1;
                lock(&self.shared.kicks[self.id].run_page).set_kvm_immediate_exit(0);
                return Some(Inside(self.shared));
            }
            state = wait(&self.shared.changed, state);
        }
    }

    /// Runs the guest until it is kicked or ends.
    fn run(&mut self) {
        loop {
            let step = match self.vcpu.run() {
                Ok(VcpuExit::IoIn(port, data)) => self.exits.io_in(port, data),
                Ok(VcpuExit::IoOut(port, data)) => self.exits.io_out(port, data),
                Ok(VcpuExit::MmioRead(address, data)) => self.exits.mmio_read(address, data),
                Ok(VcpuExit::MmioWrite(address, data)) => self.exits.mmio_write(address, data),
                Ok(VcpuExit::Unsupported(KVM_EXIT_DIRTY_RING_FULL)) => self.ring_full(),
                Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _)) => Step::Shutdown,
                // A kick.
                Ok(VcpuExit::Intr) => return self.kicked(),
                Ok(other) => Step::Stop(describe(&other)),
                Err(errno) if errno.errno() == libc::EINTR => return self.kicked(),
                // A vCPU that waits for INIT or SIPI got it.
                Err(errno) if errno.errno() == libc::EAGAIN => Step::Continue,
                Err(errno) => Step::Stop(format!("KVM_RUN failed: {errno}")),
            };
            match step {
                Step::Continue => {}
                Step::Idle(rest) => {
                    if !self.rest(rest) {
                        return;
                    }
                }
                Step::Shutdown => {
                    self.shared.end(None);
                    return;
                }
                Step::Stop(reason) => {
                    let reason = match arch::internal_error(&mut self.vcpu) {
                        Some(detail) => format!("{reason} ({detail})"),
                        None => reason,
                    };
                    self.crash(reason);
                    return;
                }
            }
        }
    }

    /// With rings, has the vCPU look at its own from time to time.
    fn start_timer(&self) -> Option<RunTimer> {
        let longest_run = self.shared.ring_exits.get()?.longest_run()?;
        let timer = RunTimer::start(self.shared.signal, longest_run);
        timer
            .inspect_err(|error| tracing::warn!(%error, vcpu = self.id, "only the reaper looks after this dirty ring"))
            .ok()
    }

    fn kicked(&self) {
        if let Some(exits) = self.shared.ring_exits.get() {
            exits.kicked(self.id);
        }
    }

    /// Has the rings harvested, and gives that some time; a ring that is still full then ends KVM_RUN at once again.
    fn ring_full(&self) -> Step {
        let Some(exits) = self.shared.ring_exits.get() else {
            return Step::Stop("KVM_EXIT_DIRTY_RING_FULL, on a VM without rings".to_owned());
        };
        exits.full(self.id);
        Step::Idle(RING_FULL_REST)
    }

    /// Sleeps, unless something is asked of the vCPU; whether it may go on.
    fn rest(&self, rest: Duration) -> bool {
        let began = Instant::now();
        let mut state = lock(&self.shared.state);
        while state.may_run() {
            let left = rest.saturating_sub(began.elapsed());
            if left.is_zero() {
                return true;
            }
            state = wait_timeout(&self.shared.changed, state, left);
        }
        false
    }

    fn crash(&self, reason: String) {
        let instruction_pointer = arch::instruction_pointer(&self.vcpu);
        self.shared.end(Some(Crash { vcpu: self.id as u64, reason, instruction_pointer }));
    }
}

fn describe(exit: &VcpuExit) -> String {
    match exit {
        VcpuExit::Shutdown => "KVM_EXIT_SHUTDOWN (triple fault)".to_owned(),
        VcpuExit::InternalError => "KVM_EXIT_INTERNAL_ERROR".to_owned(),
        VcpuExit::FailEntry(reason, cpu) => format!("KVM_EXIT_FAIL_ENTRY (hardware reason {reason:#x}, CPU {cpu})"),
        VcpuExit::SystemEvent(kind, _) => format!("KVM_EXIT_SYSTEM_EVENT {kind}"),
        VcpuExit::Unsupported(number) => format!("KVM_EXIT {number}"),
        other => format!("KVM_EXIT {other:?}"),
    }
}
