//! The state that the vCPU threads of a VM share with the threads that make requests to them.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::kick::Kick;
use super::state::{Crash, RunState};
use dirtyrate::GuestClock;
use dirtyrate::kvm::dirty_ring::{HoldVcpus, RingExits};
use dirtyrate::locks::{Condvar, Mutex, MutexGuard, lock, wait, wait_timeout};
use dirtyrate::{Error, Result};

/// The time between two kicks of a vCPU that was asked to stop.
#[cfg(not(loom))]
const KICK_INTERVAL: Duration = Duration::from_millis(100);
/// Under loom no time passes, and a model must not depend on real time.
#[cfg(loom)]
const KICK_INTERVAL: Duration = Duration::MAX;

/// After how many kicks a vCPU counts as stuck, which takes ten seconds. Kicks are counted, and not time, because a
/// process that was stopped (by SIGSTOP, a debugger or a freezer) has not waited meanwhile.
const MOST_KICKS: u32 = 100;

/// Where a vCPU's thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// There is no thread: it was not started, or has ended.
    NoThread,
    /// The thread is outside KVM_RUN, and asks before it enters.
    Outside,
    /// The thread may be inside KVM_RUN, or in a device of the machine.
    Inside,
}

pub(super) struct State {
    pub run: RunState,
    /// How many calls of [`Vcpus::hold`] are under way. They stop the vCPUs without changing the state of the VM.
    pub holds: usize,
    /// Where each vCPU's thread is.
    pub threads: Vec<At>,
    pub crash: Option<Crash>,
    /// What is called when the VM ends.
    when_ended: Vec<Box<dyn FnOnce() + Send>>,
}

impl State {
    pub fn may_run(&self) -> bool {
        self.run == RunState::Running && self.holds == 0
    }

    /// The first vCPU whose thread is at `at`.
    pub fn first(&self, at: At) -> Option<usize> {
        self.threads.iter().position(|thread| *thread == at)
    }

    pub fn ended(&self) -> bool {
        matches!(self.run, RunState::Shutdown | RunState::Crashed)
    }

    /// The error for a VM in this state that cannot be started, paused, or whatever `participle` says.
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

/// Says that a vCPU may be inside KVM_RUN, until this is dropped, also by a panic of a device.
pub(super) struct Inside<'a>(&'a Shared, usize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.threads[self.1] = At::Outside;
        self.0.note_standing(&state);
        drop(state);
        self.0.changed.notify_all();
    }
}

pub(super) struct Shared {
    /// The clock that learns when the guest stops and when it runs again.
    pub clock: GuestClock,
    pub state: Mutex<State>,
    pub changed: Condvar,
    pub kicks: Vec<Box<dyn Kick>>,
    /// Set for a VM with dirty rings.
    pub ring_exits: OnceLock<Box<dyn RingExits>>,
}

impl Shared {
    /// The state of a new VM, with a kick for each vCPU.
    pub fn new(kicks: Vec<Box<dyn Kick>>, clock: GuestClock) -> Self {
        let threads = vec![At::NoThread; kicks.len()];
        let state = State { run: RunState::Created, holds: 0, threads, crash: None, when_ended: Vec::new() };
        Self { clock, state: Mutex::new(state), changed: Condvar::new(), kicks, ring_exits: OnceLock::new() }
    }

    /// Takes every vCPU out of KVM_RUN. The caller must have made its request under the lock before.
    pub fn kick(&self) {
        self.changed.notify_all();
        for kick in &self.kicks {
            // A refusal is ignored here, because the thread that waits for the vCPU kicks it again, and reports a
            // refusal that lasts.
            let _ = kick.kick();
        }
    }

    /// Waits until a vCPU may run; `None` when the VM has ended. The vCPU's own thread calls this.
    pub fn enter(&self, vcpu: usize) -> Option<Inside<'_>> {
        let mut state = lock(&self.state);
        loop {
            if state.ended() {
                return None;
            }
            if state.may_run() {
                state.threads[vcpu] = At::Inside;
                self.kicks[vcpu].clear();
                return Some(Inside(self, vcpu));
            }
            state = wait(&self.changed, state);
        }
    }

    /// Sleeps, or returns early if the vCPUs get a request. Returns whether the vCPU may go on. The vCPU's own thread
    /// calls this.
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
        let was = state.run;
        match was {
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
        let waited = self.wait_parked(lock(&self.state)).map(|state| state.ended().then(|| state.refusal("paused")));
        match waited {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(refusal),
            Err(stuck) => {
                // The VM is not paused, so its state must not say so. The other vCPUs go on.
                if was == RunState::Running {
                    let _ = self.resume();
                }
                Err(stuck)
            }
        }
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

    /// Tells the clock when the guest has stopped because of a request. A vCPU that is only held for a moment, for
    /// example for its ring, does not count, because that time is a cost of measuring.
    fn note_standing(&self, state: &State) {
        if state.first(At::Inside).is_none() && !matches!(state.run, RunState::Created | RunState::Running) {
            self.clock.guest_stands();
        }
    }

    pub fn check_not_vcpu(&self) -> Result<()> {
        if self.own_vcpu().is_some() {
            return Err(Error::State("a vCPU's own thread cannot wait for the vCPUs to stop".to_owned()));
        }
        Ok(())
    }

    /// The vCPU whose thread is the calling thread.
    fn own_vcpu(&self) -> Option<usize> {
        let (shared, vcpu) = VCPU_OF.get();
        (shared == std::ptr::from_ref(self)).then_some(vcpu)
    }

    /// Waits until no vCPU is inside KVM_RUN, or until the vCPUs may run again because another thread has resumed them.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for).
    pub fn wait_parked<'a>(&'a self, state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        self.wait_for(state, |state| if state.may_run() { None } else { state.first(At::Inside) })
    }

    /// Waits until the thread of every vCPU has ended, except for the calling thread.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for).
    pub fn wait_ended<'a>(&'a self, state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>> {
        let own = self.own_vcpu();
        self.wait_for(state, |state| {
            (0..state.threads.len()).find(|&vcpu| state.threads[vcpu] != At::NoThread && Some(vcpu) != own)
        })
    }

    /// Waits until `late` returns no vCPU any more, and kicks the vCPU meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if the kernel has refused every kick, [`Error::VcpuStuck`] if the vCPU did not react to them.
    fn wait_for<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        late: impl Fn(&State) -> Option<usize>,
    ) -> Result<MutexGuard<'a, State>> {
        let (mut kicks, mut began) = (0, Instant::now());
        while let Some(vcpu) = late(&state) {
            if began.elapsed() >= KICK_INTERVAL {
                let refused = self.kicks[vcpu].kick();
                (kicks, began) = (kicks + 1, Instant::now());
                if kicks >= MOST_KICKS {
                    refused?;
                    return Err(Error::VcpuStuck { vcpu: vcpu as u64, waited: KICK_INTERVAL * MOST_KICKS });
                }
            }
            state = wait_timeout(&self.changed, state, KICK_INTERVAL.saturating_sub(began.elapsed()));
        }
        Ok(state)
    }

    /// Notes that the thread of a vCPU ends. Returns whether it was the last one.
    pub fn leave(&self, vcpu: usize) -> bool {
        let mut state = lock(&self.state);
        state.threads[vcpu] = At::NoThread;
        let last = state.threads.iter().all(|thread| *thread == At::NoThread);
        drop(state);
        self.changed.notify_all();
        last
    }

    /// Ends the VM, unless it has ended already: because of `crash`, or by request if there is no crash.
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
        let calls = std::mem::take(&mut state.when_ended);
        drop(state);
        self.kick();
        calls.into_iter().for_each(|call| call());
    }

    /// See [`Vcpus::when_ended`](super::Vcpus::when_ended).
    pub fn when_ended(&self, call: Box<dyn FnOnce() + Send>) {
        let mut state = lock(&self.state);
        if state.ended() {
            drop(state);
            call();
        } else {
            state.when_ended.push(call);
        }
    }
}

thread_local! {
    /// If this thread is the thread of a vCPU, the address of its VM's state, and the number of the vCPU.
    pub(super) static VCPU_OF: Cell<(*const Shared, usize)> = const { Cell::new((std::ptr::null(), 0)) };
}

/// Stops the vCPUs of a VM for a moment, from anywhere.
#[derive(Clone)]
pub struct Holder(pub(super) Arc<Shared>);

impl Holder {
    /// Runs `work` while no vCPU runs, without changing the VM's state. Holds nest across threads.
    ///
    /// # Errors
    ///
    /// [`Error::State`] on a vCPU's own thread, which cannot wait for itself; [`Error::VcpuStuck`] and [`Error::Limit`]
    /// for a vCPU that does not stop within ten seconds: `work` is not run then.
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
        drop(self.0.wait_parked(lock(&self.0.state))?);
        Ok(work())
    }
}

impl HoldVcpus for Holder {
    fn hold_vcpus(&self, work: &mut dyn FnMut()) -> Result<()> {
        self.hold(work)
    }
}
