//! The vCPUs of a VM, and the requests to all of them.

use std::sync::Arc;
use std::thread::JoinHandle;

use kvm_ioctls::{VcpuFd, VmFd};

use super::exits::ExitHandler;
use super::kick::{Kick, ThreadKick};
use super::kick_signals::{KickSignals, signals};
use super::shared::{At, Holder, Shared, State};
use super::state::{Crash, Refused, RunState};
use super::thread::Thread;
use dirtyrate::kvm::dirty_ring::RingExits;
use dirtyrate::locks::{Mutex, lock};
use dirtyrate::{Error, GuestClock, Result, threads};

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
    /// [`Error::State`], [`MachineError::GuestCrashed`](crate::MachineError::GuestCrashed).
    pub fn check_not_started(&self) -> Result<()> {
        not_started(&lock(&self.shared.state))
    }

    /// Starts every vCPU on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::State`] unless the VM was only created; [`Error::Limit`] if there can be no more threads: then the VM
    /// has ended.
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
    /// [`Error::State`] unless it runs, or on a vCPU's own thread;
    /// [`MachineError::GuestCrashed`](crate::MachineError::GuestCrashed).
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
    pub(crate) fn set_ring_exits(&self, exits: impl RingExits + 'static) {
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
