//! The vCPU of a VMM, for the models of the rings. It keeps the contract of [`HoldVcpus`] with one lock for everything.
//! These models do not cover how a real VMM stops its vCPUs; `dirtyrate-machine` has models of that.

use loom::thread::JoinHandle;

use super::*;
use crate::locks::{Condvar, wait};

/// What a guest does next.
pub enum GuestStep<T> {
    Continue,
    Loop,
    Exit(T),
}

#[derive(Default)]
struct State {
    holds: usize,
    /// Whether the vCPU's thread is inside KVM_RUN, or on its way.
    inside: bool,
    /// Whether KVM_RUN has to end.
    kicked: bool,
    ended: bool,
}

impl State {
    fn may_run(&self) -> bool {
        self.holds == 0 && !self.ended
    }
}

/// A handle to the vCPU, for its own thread and for the threads that stop it.
#[derive(Clone, Default)]
pub struct Vcpu(Arc<(Mutex<State>, Condvar)>);

impl Vcpu {
    /// The loop of the vCPU's thread: calls `run` until the VM ends, whenever the vCPU may run.
    pub fn enter(&self, mut run: impl FnMut()) {
        let (state, changed) = &*self.0;
        loop {
            let mut entering = lock(state);
            while !entering.may_run() {
                if entering.ended {
                    return;
                }
                entering = wait(changed, entering);
            }
            entering.inside = true;
            entering.kicked = false;
            drop(entering);
            run();
            lock(state).inside = false;
            changed.notify_all();
        }
    }

    /// Plays KVM_RUN. Returns why the guest left it, or `None` for a kick. Each call of `guest` does one step of the
    /// guest, and a guest that has nothing more to do stays inside until it is kicked.
    pub fn run<T>(&self, mut guest: impl FnMut() -> GuestStep<T>) -> Option<T> {
        let (state, changed) = &*self.0;
        while !lock(state).kicked {
            match guest() {
                GuestStep::Continue => {}
                GuestStep::Exit(reason) => return Some(reason),
                GuestStep::Loop => {
                    let mut looping = lock(state);
                    while !looping.kicked {
                        looping = wait(changed, looping);
                    }
                }
            }
        }
        None
    }

    /// Whether the vCPU may go on.
    pub fn may_run(&self) -> bool {
        lock(&self.0.0).may_run()
    }

    /// Ends the VM.
    pub fn end(&self, thread: JoinHandle<()>) {
        self.kick(|state| state.ended = true);
        thread.join().expect("it did not panic");
    }

    fn kick(&self, request: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0.0);
        request(&mut state);
        state.kicked = true;
        drop(state);
        self.0.1.notify_all();
    }
}

impl HoldVcpus for Vcpu {
    fn hold_vcpus(&self, work: &mut dyn FnMut()) -> Result<()> {
        let (state, changed) = &*self.0;
        self.kick(|state| state.holds += 1);
        let mut holding = lock(state);
        while holding.inside {
            holding = wait(changed, holding);
        }
        drop(holding);
        work();
        lock(state).holds -= 1;
        changed.notify_all();
        Ok(())
    }
}
