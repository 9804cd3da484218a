//! Models of hold, pause, kick and end, under every order of events within loom's bounds.
//!
//! The code is the real one, except for KVM_RUN, which returns at once if `immediate_exit` is set, and otherwise when a
//! signal reaches it; a signal that comes before KVM_RUN is entered is lost. If a thread waits for ever, that is a
//! deadlock, which loom reports. If a vCPU runs while it is held, that is a race for its memory, which loom reports
//! too.

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, JoinHandle};

use std::sync::Arc;

use super::kick::Kick;
use super::shared::{At, Holder, Shared};
use super::state::RunState;
use dirtyrate::locks::{Condvar, Mutex, lock, wait};
use dirtyrate::{GuestClock, Result};

#[derive(Default)]
struct Run {
    inside: bool,
    signalled: bool,
}

struct Vcpu {
    immediate_exit: AtomicBool,
    run: Mutex<Run>,
    interrupted: Condvar,
    /// What the guest writes whenever it runs.
    memory: UnsafeCell<u64>,
}

// SAFETY: the memory is the guest's while it runs, and the holder's while it does not. Loom checks that at each access.
unsafe impl Sync for Vcpu {}

impl Vcpu {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            immediate_exit: AtomicBool::new(false),
            run: Mutex::default(),
            interrupted: Condvar::new(),
            memory: UnsafeCell::new(0),
        })
    }

    /// KVM_RUN of a guest that writes its memory and then loops until it is kicked.
    fn run(&self) {
        *lock(&self.run) = Run { inside: true, signalled: false };
        if !self.immediate_exit.load(Ordering::Relaxed) {
            // SAFETY: only the guest has its memory while it runs: loom would say if somebody else had it.
            self.memory.with_mut(|memory| unsafe { *memory += 1 });
            let mut run = lock(&self.run);
            while !run.signalled {
                run = wait(&self.interrupted, run);
            }
        }
        lock(&self.run).inside = false;
    }

    /// Looks at the memory of a guest that does not run.
    fn look(&self) {
        // SAFETY: nobody writes it: loom would say so.
        self.memory.with(|memory| assert!(unsafe { *memory } < 100));
    }
}

impl Kick for Arc<Vcpu> {
    fn begin(&self) {}

    fn end(&self) {}

    fn clear(&self) {
        self.immediate_exit.store(false, Ordering::Relaxed);
    }

    fn kick(&self) -> Result<()> {
        self.immediate_exit.store(true, Ordering::Relaxed);
        let mut run = lock(&self.run);
        run.signalled = run.inside;
        self.interrupted.notify_all();
        Ok(())
    }
}

/// Running vCPUs, and the threads that make requests to them.
#[derive(Clone)]
struct Rig {
    shared: Arc<Shared>,
    vcpus: Vec<Arc<Vcpu>>,
}

impl Rig {
    fn new(vcpus: usize) -> Self {
        let vcpus: Vec<_> = (0..vcpus).map(|_| Vcpu::new()).collect();
        let shared = Shared::new(
            vcpus.iter().map(|vcpu| Box::new(Arc::clone(vcpu)) as Box<dyn Kick>).collect(),
            GuestClock::new(),
        );
        lock(&shared.state).run = RunState::Running;
        Self { shared: Arc::new(shared), vcpus }
    }

    fn spawn(&self, work: impl FnOnce(&Self) + 'static) -> JoinHandle<()> {
        let rig = self.clone();
        thread::spawn(move || work(&rig))
    }

    fn start(&self) -> Vec<JoinHandle<()>> {
        let start = |vcpu: usize| {
            self.spawn(move |rig| {
                rig.enter(vcpu, || rig.vcpus[vcpu].run());
            })
        };
        (0..self.vcpus.len()).map(start).collect()
    }

    fn holder(&self) -> Holder {
        Holder(Arc::clone(&self.shared))
    }

    /// The loop of a vCPU's thread: calls `run` as long as the vCPU may run.
    fn enter(&self, vcpu: usize, mut run: impl FnMut()) {
        while let Some(_inside) = self.shared.enter(vcpu) {
            run();
        }
    }

    fn hold(&self) {
        self.holder().hold(|| self.vcpus.iter().for_each(|vcpu| vcpu.look())).expect("held");
    }

    fn end(&self, vcpus: Vec<JoinHandle<()>>) {
        self.shared.end(None);
        vcpus.into_iter().for_each(join);
        assert_eq!(lock(&self.shared.state).first(At::Inside), None);
    }
}

fn join(thread: JoinHandle<()>) {
    thread.join().expect("it did not panic");
}

#[test]
fn a_hold_stops_every_vcpu() {
    loom::model(|| {
        let rig = Rig::new(2);
        let vcpus = rig.start();
        rig.hold();
        rig.end(vcpus);
    });
}

#[test]
fn holds_of_several_threads_nest() {
    loom::model(|| {
        let rig = Rig::new(1);
        let vcpus = rig.start();
        let holding = rig.spawn(Rig::hold);
        rig.hold();
        join(holding);
        rig.end(vcpus);
    });
}

#[test]
fn a_pause_beside_a_hold_stays_until_it_is_resumed() {
    loom::model(|| {
        let rig = Rig::new(1);
        let vcpus = rig.start();
        let holding = rig.spawn(Rig::hold);
        rig.shared.pause().expect("paused");
        rig.vcpus[0].look();
        rig.shared.resume().expect("resumed");
        join(holding);
        rig.end(vcpus);
    });
}

#[test]
fn a_pause_that_is_overruled_ends() {
    loom::model(|| {
        let rig = Rig::new(1);
        let vcpus = rig.start();
        let pausing = rig.spawn(|rig| rig.shared.pause().expect("paused"));
        rig.shared.resume().expect("resumed, or not paused yet");
        join(pausing);
        rig.end(vcpus);
    });
}

#[test]
fn the_end_of_a_vm_reaches_every_thread_that_waits() {
    loom::model(|| {
        let rig = Rig::new(1);
        let vcpus = rig.start();
        let holding = rig.spawn(Rig::hold);
        // If the end comes first, the pause is refused, and does not wait for a guest that is gone.
        let pausing = rig.spawn(|rig| drop(rig.shared.pause()));
        rig.end(vcpus);
        join(holding);
        join(pausing);
    });
}

#[test]
fn a_guest_goes_on_after_a_hold() {
    loom::model(|| {
        let rig = Rig::new(1);
        let held = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&held);
        let guest = rig.spawn(move |rig| {
            while let Some(_inside) = rig.shared.enter(0) {
                if seen.load(Ordering::Relaxed) {
                    // It asks for its end: the only one that it gets here.
                    rig.shared.end(None);
                    return;
                }
                rig.vcpus[0].run();
            }
        });
        rig.holder().hold(|| held.store(true, Ordering::Relaxed)).expect("held");
        join(guest);
        assert_eq!(lock(&rig.shared.state).run, RunState::Shutdown);
    });
}
