//! What the vCPU threads of a VM and those who ask something of them share.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::kick::Kick;
use super::{Crash, RingExits, RunState};
use crate::clock::GuestClock;
use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, MutexGuard, lock, wait, wait_timeout};

#[derive(Debug)]
pub(super) struct State {
    pub run: RunState,
    /// Holds of [`Vcpus::hold`], which stop the vCPUs without changing what the VM is doing.
    pub holds: usize,
    /// Threads that may be inside KVM_RUN.
    pub running: usize,
    /// Threads that have not ended.
    pub alive: usize,
    pub crash: Option<Crash>,
}

impl State {
    pub fn may_run(&self) -> bool {
        self.run == RunState::Running && self.holds == 0
    }

    pub fn ended(&self) -> bool {
        matches!(self.run, RunState::Shutdown | RunState::Crashed)
    }

    /// Why the VM cannot be started, paused, or whatever the `participle` says.
    pub fn refusal(&self, participle: &str) -> Error {
        match (&self.crash, self.run) {
            (Some(crash), _) => crash.into(),
            (_, RunState::Created) => {
                Error::State(format!("the virtual machine cannot be {participle}: it was not started"))
            }
            _ => Error::State(format!("the virtual machine cannot be {participle}: it was shut down")),
        }
    }
}

/// A vCPU that may be inside KVM_RUN, until this is dropped: also by a panic of a device.
pub(super) struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.running -= 1;
        self.0.note_standing(&state);
        drop(state);
        self.0.changed.notify_all();
    }
}

pub(super) struct Shared {
    /// Told when the guest stands and when it runs again.
    pub clock: GuestClock,
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub kicks: Vec<Box<dyn Kick>>,
    /// Of a VM with dirty rings.
    pub ring_exits: OnceLock<Box<dyn RingExits>>,
}

impl Shared {
    /// Of a VM that was only created, with a kick for each vCPU.
    pub fn new(kicks: Vec<Box<dyn Kick>>, clock: GuestClock) -> Self {
        let state = State { run: RunState::Created, holds: 0, running: 0, alive: 0, crash: None };
        Self { clock, state: Mutex::new(state), changed: Condvar::new(), kicks, ring_exits: OnceLock::new() }
    }

    /// Takes every vCPU out of KVM_RUN. The request was made under the lock before.
    pub fn kick(&self) {
        self.changed.notify_all();
        self.kicks.iter().for_each(|kick| kick.kick());
    }

    /// On a vCPU's own thread: waits until it may run; `None` when the VM has ended.
    pub fn enter(&self, vcpu: usize) -> Option<Inside<'_>> {
        let mut state = lock(&self.state);
        loop {
            if state.ended() {
                return None;
            }
            if state.may_run() {
                state.running += 1;
                self.kicks[vcpu].clear();
                return Some(Inside(self));
            }
            state = wait(&self.changed, state);
        }
    }

    /// On a vCPU's own thread: sleeps, unless something is asked of the vCPUs; whether they may go on.
    pub fn rest(&self, rest: Duration) -> bool {
        let began = Instant::now();
        let mut state = lock(&self.state);
        while state.may_run() {
            let left = rest.saturating_sub(began.elapsed());
            if left.is_zero() {
                return true;
            }
            state = wait_timeout(&self.changed, state, left);
        }
        false
    }

    /// See [`Vcpus::pause`](super::Vcpus::pause).
    pub fn pause(&self) -> Result<()> {
        self.check_not_vcpu()?;
        let mut state = lock(&self.state);
        match state.run {
            RunState::Running => {
                state.run = RunState::Paused;
                self.clock.pause_requested();
                self.note_standing(&state);
            }
            RunState::Paused => {}
            _ => return Err(state.refusal("paused")),
        }
        drop(state);
        self.kick();
        let state = self.wait_parked(lock(&self.state));
        if state.ended() { Err(state.refusal("paused")) } else { Ok(()) }
    }

    /// See [`Vcpus::resume`](super::Vcpus::resume).
    pub fn resume(&self) -> Result<()> {
        let mut state = lock(&self.state);
        match state.run {
            RunState::Paused => {
                state.run = RunState::Running;
                self.clock.guest_runs();
            }
            RunState::Running => {}
            _ => return Err(state.refusal("resumed")),
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Tells the clock once the guest stands by request. A vCPU that is only held for a moment, as for its ring, does not
    /// make the guest stand: that is what measuring costs.
    fn note_standing(&self, state: &State) {
        if state.running == 0 && !matches!(state.run, RunState::Created | RunState::Running) {
            self.clock.guest_stands();
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
            self.clock.pause_requested();
            self.note_standing(&state);
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
