//! One vCPU's thread.

use std::io;
use std::time::Duration;

use kvm_bindings::{
    KVM_EXIT_DIRTY_RING_FULL, KVM_MP_STATE_UNINITIALIZED, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN,
};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::exits::{ExitHandler, Step};
use super::kick_signals::{self, KickSignals};
use super::shared::{Shared, VCPU_OF};
use super::state::{Crash, Refused};
use super::timer::RunTimer;
use crate::arch;
use dirtyrate::Error;

/// How long a vCPU rests when its dirty ring is full: about as long as a harvest of the ring takes.
const RING_FULL_REST: Duration = Duration::from_micros(200);

/// The current setting of a vCPU's run timer. If a timer could not be started, it is not tried again with the same
/// time.
#[derive(Default)]
struct ArmedTimer {
    every: Option<Duration>,
    timer: Option<RunTimer>,
}

/// How often KVM_RUN may answer EAGAIN in a row. It answers so once for a vCPU that waited for INIT
/// (`kvm_arch_vcpu_ioctl_run`). It also answers so each time when KVM cannot make the thread that it needs at the first
/// KVM_RUN of a VM (`kvm_mmu_post_init_vm`). So a limit of tasks that is reached only for a moment does no harm:
/// KVM_RUN is repeated for a second.
const MOST_REFUSALS: u32 = 100;
/// How long a vCPU rests after its KVM_RUN was refused.
const REFUSED_REST: Duration = Duration::from_millis(10);

/// One vCPU's thread.
pub(super) struct Thread<'a> {
    pub id: usize,
    pub vcpu: VcpuFd,
    pub shared: &'a Shared,
    pub signals: KickSignals,
    pub exits: &'a dyn ExitHandler,
    /// How often KVM_RUN has answered EAGAIN since the guest last ran.
    pub refusals: u32,
}

impl Thread<'_> {
    pub fn main(mut self) {
        VCPU_OF.set((std::ptr::from_ref(self.shared), self.id));
        self.shared.kicks[self.id].begin();
        let ran =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match kick_signals::unblock(self.signals) {
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
        if self.shared.leave(self.id) {
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
                // PSCI's SYSTEM_OFF and SYSTEM_RESET. A reset ends the machine too, because it has no firmware to start
                // again from.
                Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN | KVM_SYSTEM_EVENT_RESET, _)) => Step::Shutdown,
                // A kick.
                Ok(VcpuExit::Intr) => return self.kicked(),
                Ok(other) => Step::Stop(describe(&other)),
                Err(errno) if errno.errno() == libc::EINTR => return self.kicked(),
                Err(errno) if errno.errno() == libc::EAGAIN => match self.try_again() {
                    Some(rest) => Step::Idle(rest),
                    None => return self.refused(libc::EAGAIN),
                },
                Err(errno) => return self.refused(errno.errno()),
            };
            if !matches!(step, Step::Idle(_)) {
                self.refusals = 0;
            }
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

    /// After EAGAIN: how long to rest until KVM_RUN is tried again; `None` if it should not be tried again.
    fn try_again(&mut self) -> Option<Duration> {
        self.refusals += 1;
        let waits = self.vcpu.get_mp_state().is_ok_and(|state| state.mp_state == KVM_MP_STATE_UNINITIALIZED);
        // A vCPU that waits for INIT may be woken without a reason any number of times. If there is a limit, the boot
        // vCPU finds it.
        if self.refusals == 1 || waits || self.refusals < MOST_REFUSALS {
            return Some(if self.refusals == 1 { Duration::ZERO } else { REFUSED_REST });
        }
        None
    }

    /// Ends the VM, because KVM_RUN failed.
    fn refused(&self, errno: i32) {
        let error = Error::refused("KVM_RUN", format!("vCPU {}", self.id), io::Error::from_raw_os_error(errno));
        let refused = matches!(error, Error::Limit { .. }).then_some(Refused { call: "KVM_RUN", errno });
        let instruction_pointer = arch::instruction_pointer(&self.vcpu);
        self.shared.end(Some(Crash { vcpu: self.id as u64, reason: error.to_string(), instruction_pointer, refused }));
    }

    /// On a VM with rings, while a block is logged, sets the timer that makes the vCPU look at its own ring from time
    /// to time.
    fn arm(&self, timer: &mut ArmedTimer) {
        let longest_run = self.shared.ring_exits.get().and_then(|exits| exits.longest_run());
        if timer.every == longest_run {
            return;
        }
        let start = |every| {
            RunTimer::start(self.signals.first, every)
                .inspect_err(
                    |error| tracing::warn!(%error, vcpu = self.id, "only the reaper looks after this dirty ring"),
                )
                .ok()
        };
        // The old timer is dropped first, so that no kick of it is taken for a kick of the new one.
        timer.timer = None;
        *timer = ArmedTimer { every: longest_run, timer: longest_run.and_then(start) };
    }

    fn kicked(&self) {
        if let Some(exits) = self.shared.ring_exits.get() {
            exits.kicked(self.id);
        }
    }

    /// Lets the rings be harvested, and rests for a while. If the ring is still full then, the next KVM_RUN ends at
    /// once again.
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
        self.shared.end(Some(Crash { vcpu: self.id as u64, reason, instruction_pointer, refused: None }));
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
