//! A vCPU on a thread of its own, which runs its guest round by round, and what stops all vCPUs of a VM.

use std::os::raw::c_int;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dirtyrate::kvm::dirty_ring::{HoldVcpus, RingExits};
use dirtyrate::{Error, Result};
use kvm_bindings::KVM_EXIT_DIRTY_RING_FULL;
use kvm_ioctls::{VcpuExit, VcpuFd};
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::guest;

/// What came of a round: what went wrong, if anything has.
type Answer = std::result::Result<(), String>;

/// A vCPU that runs, or waits for its next round.
pub struct VcpuThread {
    rounds: Option<Sender<()>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
}

impl VcpuThread {
    /// Puts the vCPU on its thread, where it waits for its first round. `ring` is to know what ends its KVM_RUN, and
    /// calls it `number`.
    pub fn start(vcpu: VcpuFd, number: usize, pauser: &Pauser, ring: Option<Box<dyn RingExits>>) -> Result<Self> {
        extern "C" fn nothing(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
        register_signal_handler(kick_signal(), nothing).map_err(|errno| Error::ioctl("sigaction", "the VMM", errno))?;
        let (rounds, asked) = channel();
        let (answer, answers) = channel();
        let pauser = pauser.clone();
        let thread = std::thread::spawn(move || run(vcpu, number, &pauser, ring.as_deref(), &asked, &answer));
        Ok(Self { rounds: Some(rounds), answers, thread: Some(thread) })
    }

    /// Has the guest begin to write its pages once.
    pub fn begin_round(&self) -> Result<()> {
        self.rounds.as_ref().and_then(|rounds| rounds.send(()).ok()).ok_or_else(ended)
    }

    /// Returns when the guest has written all of its pages.
    pub fn end_round(&self) -> Result<()> {
        self.answers.recv().map_err(|_| ended())?.map_err(Error::State)
    }
}

fn ended() -> Error {
    Error::State("the vCPU's thread has ended".to_owned())
}

impl Drop for VcpuThread {
    fn drop(&mut self) {
        self.rounds = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong, if anything has.
            let _ = thread.join();
        }
    }
}

/// The vCPU's thread: one round for each that is asked for.
fn run(
    mut vcpu: VcpuFd,
    number: usize,
    pauser: &Pauser,
    ring: Option<&dyn RingExits>,
    asked: &Receiver<()>,
    answer: &Sender<Answer>,
) {
    enum Ended {
        Done,
        RingFull,
        Kicked,
        Otherwise(String),
    }
    while asked.recv().is_ok() {
        let result = loop {
            pauser.enter();
            let ended = match vcpu.run() {
                Ok(exit) if guest::says_done(&exit) => Ended::Done,
                Ok(VcpuExit::Unsupported(KVM_EXIT_DIRTY_RING_FULL)) => Ended::RingFull,
                Ok(VcpuExit::Intr) => Ended::Kicked,
                Err(errno) if errno.errno() == libc::EINTR => Ended::Kicked,
                other => Ended::Otherwise(format!("the vCPU ended with {other:?}")),
            };
            pauser.leave();
            match (ended, ring) {
                (Ended::Done, _) => break Ok(()),
                // The reaper is awake now. Until it has been there, KVM_RUN ends at once.
                (Ended::RingFull, Some(ring)) => match ring.full(number) {
                    Ok(()) => {}
                    Err(error) => break Err(error.to_string()),
                },
                (Ended::RingFull, None) => break Err("a full ring, and nobody to empty it".to_owned()),
                (Ended::Kicked, ring) => ring.into_iter().for_each(|ring| ring.kicked(number)),
                (Ended::Otherwise(reason), _) => break Err(reason),
            }
        };
        if answer.send(result).is_err() {
            return;
        }
    }
}

/// Whether the vCPUs may enter KVM_RUN, and the threads of those that are there.
#[derive(Default)]
struct Gate {
    holds: usize,
    inside: Vec<libc::pthread_t>,
}

/// Stops the vCPUs: what the rings ask of a VMM.
#[derive(Clone, Default)]
pub struct Pauser(Arc<(Mutex<Gate>, Condvar)>);

impl Pauser {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self) {
        let mut gate = self.0.1.wait_while(self.gate(), |gate| gate.holds > 0).unwrap_or_else(PoisonError::into_inner);
        gate.inside.push(own_thread());
    }

    fn leave(&self) {
        self.gate().inside.retain(|thread| *thread != own_thread());
        self.0.1.notify_all();
    }
}

impl HoldVcpus for Pauser {
    fn hold_vcpus(&self, work: &mut dyn FnMut()) -> Result<()> {
        let mut gate = self.gate();
        gate.holds += 1;
        while !gate.inside.is_empty() {
            for thread in &gate.inside {
                // A signal that comes between the gate and KVM_RUN has no effect: so again, until the vCPU is out.
                // SAFETY: the thread is inside, so it has not ended; the signal has a handler.
                unsafe { libc::pthread_kill(*thread, kick_signal()) };
            }
            let waited = self.0.1.wait_timeout(gate, Duration::from_millis(1));
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(gate);
        // The vCPUs go on even if `work` panics.
        let _held = Held(self);
        work();
        Ok(())
    }
}

/// A hold, given back with the drop of this.
struct Held<'a>(&'a Pauser);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.gate().holds -= 1;
        self.0.0.1.notify_all();
    }
}

fn own_thread() -> libc::pthread_t {
    // SAFETY: it has no precondition.
    unsafe { libc::pthread_self() }
}

fn kick_signal() -> c_int {
    SIGRTMIN() + 5
}
