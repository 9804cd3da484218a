//! The vCPU threads, one for each vCPU. Any thread can start, hold, pause, resume and end them.
//!
//! No kick is lost, because a vCPU thread takes the same lock as a requester when it decides to enter KVM_RUN:
//!
//! * the requester changes the wanted state under the lock, and only then sets `immediate_exit` and signals the thread;
//! * the thread clears `immediate_exit` under the lock, after it has seen that it may run.
//!
//! So if the thread saw the old state, the flag is set after the thread has cleared it, and the next KVM_RUN ends at
//! once. If the thread is inside KVM_RUN already, the signal takes it out (Documentation/virt/kvm/api.rst, 5:
//! `immediate_exit`).
//!
//! Every wait has a way out. These are the waits of this crate, and what ends each:
//!
//! | who waits | for what | what ends it |
//! |---|---|---|
//! | `pause`, `hold`, and so a sync of rings, `add_block`, `remove_block` | each vCPU to leave KVM_RUN | it does; or after ten seconds of kicks [`Error::VcpuStuck`] or [`Error::Limit`] |
//! | `shutdown`, the drop of a VM | each vCPU's thread to end | the same; the guest's memory then stays mapped for good |
//! | a vCPU's thread, outside KVM_RUN | leave to run | a resume, the end of the hold, the end of the VM |
//! | a vCPU's thread whose KVM_RUN answers EAGAIN | a second of tries | the VM ends with the limit |
//! | the reaper | its time, or a full ring | the drop of the log, which joins it: it is in a harvest, or in a `hold` at the most |
//! | `Machine::start` | a workload to be ready | its token, the end of the VM, or 60 seconds |
//! | `Machine::settled`, deadlines, the pacer | a time, or the guest | their token, a pause or the end of the VM |
//! | `Console::read` | output | its token, the end of the VM, a start that fails |
//! | a lock of dirty memory | the sync that has it | that sync's token, which is checked between two calls of the kernel; a call is bounded by a chunk |
//! | a call that a signal ended (EINTR) | the next try | a thousand tries |
//!
//! `shared` has the state that all threads share, and the requests. `kick` takes a vCPU out of KVM_RUN. `thread` is
//! what the thread of a vCPU does. `timer` kicks a vCPU after some CPU time of its own.

mod kick;
mod kick_signals;
#[cfg(all(test, loom))]
mod loom_models;
mod shared;
mod thread;
mod timer;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use kick::{Kick, ThreadKick};
use kvm_ioctls::{VcpuFd, VmFd};
pub use shared::Holder;
use shared::{At, Shared, State};
use thread::Thread;

use crate::error::MachineError;
use dirtyrate::GuestClock;
use dirtyrate::kvm::dirty_ring::{HoldVcpus, RingExits};
use dirtyrate::locks::{Mutex, lock};
use dirtyrate::{Error, Result, threads};
pub use kick_signals::use_kick_signal;
use kick_signals::{KickSignals, signals};

/// What to do after an exit was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The vCPU goes on.
    Continue,
    /// The guest says that it has nothing to do. The vCPU rests for this long, or until it gets a request.
    Idle(Duration),
    /// The guest switches itself off, which is not a crash.
    Shutdown,
    /// No device answers, and the guest cannot go on, for this reason.
    Stop(String),
}

/// The devices, as a vCPU sees them. A vCPU thread makes these calls without holding a lock of its own.
///
/// A device may read and write guest memory. It must not lock dirty memory, because the thread that has this lock may
/// be waiting for the same vCPU. A device cannot wait for the vCPU on whose thread it runs, so pausing, holding, and
/// adding or removing blocks are refused there. To end the VM, a device returns [`Step::Shutdown`] or [`Step::Stop`].
pub trait ExitHandler: Send + Sync {
    /// A read of an I/O port.
    fn io_in(&self, port: u16, data: &mut [u8]) -> Step;
    /// A write to an I/O port.
    fn io_out(&self, port: u16, data: &[u8]) -> Step;
    /// A read of an address where there is no memory slot.
    fn mmio_read(&self, address: u64, data: &mut [u8]) -> Step;
    /// A write to such an address.
    fn mmio_write(&self, address: u64, data: &[u8]) -> Step;
    /// The last vCPU has ended, for any reason, and there will be no more calls. A thread that shuts the VM down waits
    /// until this returns.
    fn ended(&self) {}
}

impl HoldVcpus for Holder {
    fn hold_vcpus(&self, work: &mut dyn FnMut()) -> Result<()> {
        self.hold(work)
    }
}

/// What a VM is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Not started yet.
    Created,
    /// The vCPUs run.
    Running,
    /// Stopped until it is resumed.
    Paused,
    /// Ended by request.
    Shutdown,
    /// Ended by a vCPU's unexpected exit.
    Crashed,
}

/// Why a vCPU ended unexpectedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// The vCPU.
    pub vcpu: u64,
    /// Why, in the kernel's terms.
    pub reason: String,
    /// The vCPU's instruction pointer, if the kernel could say it.
    pub instruction_pointer: Option<u64>,
    /// The call that this host refused, if the vCPU could not go on for that reason. Then the guest itself has done
    /// nothing wrong.
    pub refused: Option<Refused>,
}

/// A call that a vCPU needs to run, and that the host refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// KVM_RUN, or pthread_create.
    pub call: &'static str,
    /// The kernel's answer.
    pub errno: i32,
}

impl From<&Crash> for Error {
    fn from(crash: &Crash) -> Self {
        if let Some(Refused { call, errno }) = crash.refused {
            return Self::refused(call, format!("vCPU {}", crash.vcpu), std::io::Error::from_raw_os_error(errno));
        }
        MachineError::GuestCrashed {
            vcpu: crash.vcpu,
            reason: crash.reason.clone(),
            instruction_pointer: crash.instruction_pointer,
        }
        .into()
    }
}

/// The vCPUs of a VM.
pub struct Vcpus {
    shared: Arc<Shared>,
    signals: KickSignals,
    /// The vCPUs until they are started. Afterwards each vCPU belongs to its thread.
    idle: Mutex<Vec<VcpuFd>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Vcpus {
    /// Wraps the vCPUs of `vm`, which come in the order of their ids. `clock` is told when the guest stands and when it
    /// runs again.
    pub fn new(vm: &VmFd, vcpus: Vec<VcpuFd>, clock: GuestClock) -> Result<Self> {
        let signals = signals()?;
        let kick = |vcpu| Ok(Box::new(ThreadKick::new(vm, vcpu, signals)?) as Box<dyn Kick>);
        let shared = Arc::new(Shared::new(vcpus.iter().map(kick).collect::<Result<_>>()?, clock));
        Ok(Self { shared, signals, idle: Mutex::new(vcpus), threads: Mutex::new(Vec::new()) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.kicks.len()
    }

    /// What the VM is doing.
    pub fn state(&self) -> RunState {
        lock(&self.shared.state).run
    }

    /// The clock that is told when the guest stands.
    pub fn clock(&self) -> &GuestClock {
        &self.shared.clock
    }

    /// Why it crashed.
    pub fn crash(&self) -> Option<Crash> {
        lock(&self.shared.state).crash.clone()
    }

    /// Calls `call` when the VM has ended, by a request, by a crash or by its guest; at once if it has ended already.
    /// The state does not change any more then, but vCPUs may still be on their way out. The call comes on the thread
    /// that ends the VM, which may be the thread of a vCPU, so `call` must not wait for anything.
    pub fn when_ended(&self, call: impl FnOnce() + Send + 'static) {
        self.shared.when_ended(Box::new(call));
    }

    /// Sets up the vCPUs before they start.
    ///
    /// # Errors
    ///
    /// [`Error::State`] after the start, and those of `setup`.
    pub fn set_up(&self, setup: impl FnOnce(&[VcpuFd]) -> Result<()>) -> Result<()> {
        self.set_up_with(setup)
    }

    /// Calls `setup` with the vCPUs before they start, and returns its result.
    pub(crate) fn set_up_with<T>(&self, setup: impl FnOnce(&[VcpuFd]) -> Result<T>) -> Result<T> {
        let idle = lock(&self.idle);
        not_started(&lock(&self.shared.state))?;
        setup(&idle)
    }

    /// Fails unless the VM was only created.
    ///
    /// # Errors
    ///
    /// [`Error::State`], [`MachineError::GuestCrashed`].
    pub fn check_not_started(&self) -> Result<()> {
        not_started(&lock(&self.shared.state))
    }

    /// Starts every vCPU on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::State`] unless the VM was only created; [`Error::Limit`] if there can be no more threads: then the VM has ended.
    pub fn start(&self, exits: &Arc<dyn ExitHandler>) -> Result<()> {
        let mut threads = lock(&self.threads);
        let mut idle = lock(&self.idle);
        {
            let mut state = lock(&self.shared.state);
            not_started(&state)?;
            state.run = RunState::Running;
            // Each thread sets its own entry to its end, however early it ends.
            state.threads.fill(At::Outside);
        }
        let signals = self.signals;
        let mut vcpus = idle.drain(..).enumerate();
        while let Some((id, vcpu)) = vcpus.next() {
            let (shared, handler) = (Arc::clone(&self.shared), Arc::clone(exits));
            let work = move || Thread { id, vcpu, shared: &shared, signals, exits: &*handler, refusals: 0 }.main();
            match threads::spawn(&format!("vcpu{id}"), work) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let errno = std::error::Error::source(&error)
                        .and_then(|source| source.downcast_ref::<std::io::Error>())
                        .and_then(std::io::Error::raw_os_error);
                    let refused = errno.map(|errno| Refused { call: "pthread_create", errno });
                    self.shared.end(Some(Crash {
                        vcpu: id as u64,
                        reason: format!("its thread could not be started: {error}"),
                        instruction_pointer: None,
                        refused,
                    }));
                    // The vCPUs that were not started have no thread that could report its end.
                    let last = std::iter::once(id).chain(vcpus.map(|(id, _)| id)).map(|id| self.shared.leave(id));
                    if last.fold(false, |any, last| any | last) {
                        exits.ended();
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Pauses the guest. When this returns, no vCPU runs and everything that they wrote is in the log, unless another
    /// thread has resumed the guest meanwhile. Pausing a paused guest changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::State`] unless it runs, or on a vCPU's own thread; [`MachineError::GuestCrashed`].
    pub fn pause(&self) -> Result<()> {
        self.shared.pause()
    }

    /// Lets a paused guest run again. Resuming a running guest changes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`pause`](Self::pause).
    pub fn resume(&self) -> Result<()> {
        self.shared.resume()
    }

    /// Ends the guest and joins its threads. What the guest wrote stays. Ending it again changes nothing. On the thread
    /// of a vCPU, this does not wait for that thread.
    ///
    /// # Errors
    ///
    /// [`Error::VcpuStuck`] and [`Error::Limit`] for a vCPU that does not stop within ten seconds. Its thread goes on
    /// until it stops, so guest memory must stay mapped. A later call waits again.
    pub fn shutdown(&self) -> Result<()> {
        self.shared.end(None);
        drop(self.shared.wait_ended(lock(&self.shared.state))?);
        let own = std::thread::current().id();
        let threads = std::mem::take(&mut *lock(&self.threads));
        let (own, others): (Vec<_>, Vec<_>) = threads.into_iter().partition(|thread| thread.thread().id() == own);
        lock(&self.threads).extend(own);
        for thread in others {
            // The thread has left KVM_RUN for good, and at most runs `ExitHandler::ended`. A vCPU thread reports its
            // own panic as a crash, so the result of the join says nothing new.
            let _ = thread.join();
        }
        lock(&self.idle).clear();
        Ok(())
    }

    /// A handle that stops the vCPUs for a moment.
    pub fn holder(&self) -> Holder {
        Holder(Arc::clone(&self.shared))
    }

    /// See [`Holder::hold`].
    pub fn hold<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.holder().hold(work)
    }

    /// Sets the [`RingExits`] that the vCPUs report to. Call this once, before the start.
    pub(super) fn set_ring_exits(&self, exits: impl RingExits + 'static) {
        // This is set only once, because a VM has one log.
        let _ = self.shared.ring_exits.set(Box::new(exits));
    }

    /// Fails unless the guest runs. The error says what the guest does instead, and what cannot be done with the
    /// virtual machine: `participle`, such as "measured".
    pub fn check_running(&self, participle: &str) -> Result<()> {
        let state = lock(&self.shared.state);
        match state.run {
            RunState::Running => Ok(()),
            RunState::Paused => Err(Error::Paused("the virtual machine is paused".to_owned())),
            _ => Err(state.refusal(participle)),
        }
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::error!(%error, "a vCPU's thread goes on, and keeps what it runs on");
        }
    }
}

fn not_started(state: &State) -> Result<()> {
    match state.run {
        RunState::Created => Ok(()),
        RunState::Running | RunState::Paused => Err(Error::State("the virtual machine was started already".to_owned())),
        RunState::Shutdown | RunState::Crashed => Err(state.refusal("started")),
    }
}
