//! One vCPU's thread.

use std::os::raw::c_int;
use std::time::Duration;

use kvm_bindings::{KVM_EXIT_DIRTY_RING_FULL, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::shared::{Shared, VCPU_OF};
use super::timer::RunTimer;
use super::{Crash, ExitHandler, Step};
use crate::kvm::{arch, kick};
use crate::sync::lock;

/// How long a vCPU rests whose dirty ring is full: about what a harvest of it takes.
const RING_FULL_REST: Duration = Duration::from_micros(200);

/// What a vCPU's run timer is set to. A timer that could not be started is not tried again for the same time.
#[derive(Default)]
struct ArmedTimer {
    every: Option<Duration>,
    timer: Option<RunTimer>,
}

/// One vCPU's thread.
pub(super) struct Thread<'a> {
    pub id: usize,
    pub vcpu: VcpuFd,
    pub shared: &'a Shared,
    pub signal: c_int,
    pub exits: &'a dyn ExitHandler,
}

impl Thread<'_> {
    pub fn main(mut self) {
        VCPU_OF.set(std::ptr::from_ref(self.shared));
        self.shared.kicks[self.id].begin();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match kick::unblock(self.signal) {
            Ok(()) => {
                let mut timer = ArmedTimer::default();
                while let Some(_inside) = self.shared.enter(self.id) {
                    self.arm(&mut timer);
                    self.run();
                }
            }
            Err(error) => self.crash(error.to_string()),
        }));
        if ran.is_err() {
            self.crash("its thread panicked".to_owned());
        }
        self.shared.kicks[self.id].end();
        let mut state = lock(&self.shared.state);
        state.alive -= 1;
        if state.alive == 0 {
            drop(state);
            self.exits.ended();
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
                // PSCI's SYSTEM_OFF and SYSTEM_RESET: there is nobody who would start it again.
                Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN | KVM_SYSTEM_EVENT_RESET, _)) => Step::Shutdown,
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
                    if !self.shared.rest(rest) {
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

    /// With rings of which some block is logged, has the vCPU look at its own from time to time.
    fn arm(&self, timer: &mut ArmedTimer) {
        let longest_run = self.shared.ring_exits.get().and_then(|exits| exits.longest_run());
        if timer.every == longest_run {
            return;
        }
        let start = |every| {
            RunTimer::start(self.signal, every)
                .inspect_err(
                    |error| tracing::warn!(%error, vcpu = self.id, "only the reaper looks after this dirty ring"),
                )
                .ok()
        };
        // The old one goes first: a kick by it would be answered by a look at the new one.
        timer.timer = None;
        *timer = ArmedTimer { every: longest_run, timer: longest_run.and_then(start) };
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
        match exits.full(self.id) {
            Ok(()) => Step::Idle(RING_FULL_REST),
            Err(error) => Step::Stop(error.to_string()),
        }
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
