//! vCPU threads: one each, started, held, resumed and ended from any thread.
//!
//! No kick is lost, because a vCPU thread decides to enter KVM_RUN under the lock that a request takes first:
//!
//! * the requester changes what is wanted under the lock, and only then sets `immediate_exit` and signals the thread;
//! * the thread clears `immediate_exit` under the lock, having seen that it may run.
//!
//! So a thread that saw the old request has its flag set after it cleared it, and its next KVM_RUN ends at once; one that
//! is inside KVM_RUN already is taken out by the signal (Documentation/virt/kvm/api.rst, 5: `immediate_exit`).

use std::cell::Cell;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::raw::c_int;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kvm_bindings::{KVM_EXIT_DIRTY_RING_FULL, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd, VmFd};

use super::{arch, kick};
use crate::error::{Error, Result};

/// How long a vCPU rests whose dirty ring is full: about what a harvest of it takes.
const RING_FULL_REST: Duration = Duration::from_micros(200);

/// What to do after an exit was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Go on.
    Continue,
    /// The guest says that it has nothing to do: let it rest this long, unless something is asked of it before.
    Idle(Duration),
    /// The guest asks for its end, which is not a crash.
    Shutdown,
    /// Nobody answers there, and the guest cannot go on: the reason.
    Stop(String),
}

/// The devices, as a vCPU sees them. Called on vCPU threads, without any lock of theirs held.
///
/// A device may read and write guest memory. It cannot wait for the vCPU that it runs on: pausing, holding, and adding or
/// removing blocks are refused there; it ends the VM by what it returns.
pub trait ExitHandler: Send + Sync {
    /// A read of an I/O port.
    fn io_in(&self, port: u16, data: &mut [u8]) -> Step;
    /// A write to an I/O port.
    fn io_out(&self, port: u16, data: &[u8]) -> Step;
    /// A read of an address where there is no memory slot.
    fn mmio_read(&self, address: u64, data: &mut [u8]) -> Step;
    /// A write to such an address.
    fn mmio_write(&self, address: u64, data: &[u8]) -> Step;
    /// The last vCPU has ended, for whatever reason: there will be no more calls.
    fn ended(&self) {}
}

/// What a VM is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Not started yet.
    Created,
    /// Its vCPUs run.
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
    /// Where it stood, where the kernel could say so.
    pub instruction_pointer: Option<u64>,
}

impl From<&Crash> for Error {
    fn from(crash: &Crash) -> Self {
        Self::GuestCrashed {
            vcpu: crash.vcpu,
            reason: crash.reason.clone(),
            instruction_pointer: crash.instruction_pointer,
        }
    }
}

#[derive(Debug)]
struct State {
    run: RunState,
    /// Holds of [`Vcpus::hold`], which stop the vCPUs without changing what the VM is doing.
    holds: usize,
    /// Threads that may be inside KVM_RUN.
    running: usize,
    /// Threads that have not ended.
    alive: usize,
    /// How often the guest was stopped by request: whoever measures compares it before and after.
    pauses: u64,
    crash: Option<Crash>,
}

impl State {
    fn may_run(&self) -> bool {
        self.run == RunState::Running && self.holds == 0
    }

    fn ended(&self) -> bool {
        matches!(self.run, RunState::Shutdown | RunState::Crashed)
    }
}

/// What it takes to get one vCPU out of KVM_RUN.
struct Kick {
    /// A second view of the vCPU's kvm_run page, for `immediate_exit`.
    run_page: Mutex<VcpuFd>,
    /// The vCPU's thread, while it is alive: never a thread that was joined.
    thread: Mutex<Option<libc::pthread_t>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    kicks: Vec<Kick>,
    signal: c_int,
    ring_full: OnceLock<RingFullHook>,
}

/// Told the number of a vCPU that left because its ring is full.
type RingFullHook = Box<dyn Fn(usize) + Send + Sync>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is changed in single steps: it is whole even if a holder panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Takes every vCPU out of KVM_RUN. The request was made under the lock before.
    fn kick(&self) {
        self.changed.notify_all();
        for kick in &self.kicks {
            lock(&kick.run_page).set_kvm_immediate_exit(1);
            // The flag must be there before the signal: whoever misses one sees the other.
            fence(Ordering::SeqCst);
            if let Some(thread) = *lock(&kick.thread) {
                // SAFETY: the thread takes its entry away under this lock before it ends, so it is alive here.
                let result = unsafe { libc::pthread_kill(thread, self.signal) };
                debug_assert_eq!(result, 0, "a living thread can be signalled");
            }
        }
    }

    fn check_not_vcpu(&self) -> Result<()> {
        if VCPU_OF.get() == std::ptr::from_ref(self) {
            return Err(Error::State("a vCPU's own thread cannot wait for the vCPUs to stop".to_owned()));
        }
        Ok(())
    }

    /// Waits until no vCPU is inside KVM_RUN, or until they may run again: whoever asked them to stop was overruled.
    fn wait_parked<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while state.running > 0 && !state.may_run() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Ends the VM, because of `crash` or as asked for, unless it ended already.
    fn end(&self, crash: Option<Crash>) {
        let mut state = lock(&self.state);
        if !state.ended() {
            if let Some(crash) = &crash {
                tracing::error!(vcpu = crash.vcpu, reason = %crash.reason, "vCPU ended unexpectedly");
            }
            state.run = if crash.is_some() { RunState::Crashed } else { RunState::Shutdown };
            state.crash = crash;
            state.pauses += 1;
        }
        drop(state);
        self.kick();
    }
}

/// Stops the vCPUs of a VM for a moment, from anywhere.
#[derive(Clone)]
pub struct Holder(Arc<Shared>);

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

thread_local! {
    /// The VM that this thread is a vCPU of, by its address.
    static VCPU_OF: Cell<*const Shared> = const { Cell::new(std::ptr::null()) };
}

/// The vCPUs of a VM.
pub struct Vcpus {
    shared: Arc<Shared>,
    /// Until they are started: afterwards each belongs to its thread.
    idle: Mutex<Vec<VcpuFd>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Vcpus {
    /// Wraps the vCPUs of `vm`, in the order of their ids.
    pub fn new(vm: &VmFd, vcpus: Vec<VcpuFd>) -> Result<Self> {
        let kicks = vcpus.iter().map(|vcpu| kick_of(vm, vcpu)).collect::<Result<_>>()?;
        let state = State { run: RunState::Created, holds: 0, running: 0, alive: 0, pauses: 0, crash: None };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            kicks,
            signal: kick::signal()?,
            ring_full: OnceLock::new(),
        });
        Ok(Self { shared, idle: Mutex::new(vcpus), threads: Mutex::new(Vec::new()) })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.shared.kicks.len()
    }

    /// What the VM is doing.
    pub fn state(&self) -> RunState {
        lock(&self.shared.state).run
    }

    /// How often it was paused, or ended.
    pub fn pauses(&self) -> u64 {
        lock(&self.shared.state).pauses
    }

    /// Why it crashed.
    pub fn crash(&self) -> Option<Crash> {
        lock(&self.shared.state).crash.clone()
    }

    /// Sets up the vCPUs before they start.
    ///
    /// # Errors
    ///
    /// [`Error::State`] after the start, and those of `setup`.
    pub fn set_up(&self, setup: impl FnOnce(&[VcpuFd]) -> Result<()>) -> Result<()> {
        self.set_up_with(setup)
    }

    /// Gives `setup` the vCPUs before they start, to make something of them.
    pub(super) fn set_up_with<T>(&self, setup: impl FnOnce(&[VcpuFd]) -> Result<T>) -> Result<T> {
        let idle = lock(&self.idle);
        not_started(&lock(&self.shared.state))?;
        setup(&idle)
    }

    /// Fails unless the VM was only created.
    ///
    /// # Errors
    ///
    /// [`Error::State`], [`Error::GuestCrashed`].
    pub fn check_not_started(&self) -> Result<()> {
        not_started(&lock(&self.shared.state))
    }

    /// Starts every vCPU on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`Error::State`] unless the VM was only created; [`Error::Ioctl`] if there can be no more threads.
    pub fn start(&self, exits: &Arc<dyn ExitHandler>) -> Result<()> {
        let mut threads = lock(&self.threads);
        let mut idle = lock(&self.idle);
        {
            let mut state = lock(&self.shared.state);
            not_started(&state)?;
            state.run = RunState::Running;
            state.alive = idle.len();
        }
        let count = idle.len();
        for (id, vcpu) in idle.drain(..).enumerate() {
            let (shared, exits) = (Arc::clone(&self.shared), Arc::clone(exits));
            let spawned = std::thread::Builder::new()
                .name(format!("vcpu{id}"))
                .spawn(move || Thread { id, vcpu, shared: &shared, exits: &*exits }.main());
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    let context = format!("vCPU {id}");
                    let reason = format!("its thread could not be started: {source}");
                    // Those that were not started will not end either.
                    lock(&self.shared.state).alive -= count - id;
                    self.shared.end(Some(Crash { vcpu: id as u64, reason, instruction_pointer: None }));
                    return Err(Error::Ioctl { call: "pthread_create", context, source });
                }
            }
        }
        Ok(())
    }

    /// Stops the guest. When this returns, no vCPU runs and all that they wrote is in the log, unless somebody has resumed
    /// it meanwhile. Pausing twice is once.
    ///
    /// # Errors
    ///
    /// [`Error::State`] unless it runs, or on a vCPU's own thread; [`Error::GuestCrashed`].
    pub fn pause(&self) -> Result<()> {
        self.shared.check_not_vcpu()?;
        let mut state = lock(&self.shared.state);
        match state.run {
            RunState::Running => {
                state.run = RunState::Paused;
                state.pauses += 1;
            }
            RunState::Paused => {}
            _ => return Err(refusal(&state, "paused")),
        }
        drop(state);
        self.shared.kick();
        let state = self.shared.wait_parked(lock(&self.shared.state));
        if state.ended() { Err(refusal(&state, "paused")) } else { Ok(()) }
    }

    /// Lets a paused guest run again. Resuming one that runs changes nothing.
    ///
    /// # Errors
    ///
    /// As of [`pause`](Self::pause).
    pub fn resume(&self) -> Result<()> {
        let mut state = lock(&self.shared.state);
        match state.run {
            RunState::Paused => state.run = RunState::Running,
            RunState::Running => {}
            _ => return Err(refusal(&state, "resumed")),
        }
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Ends the guest and joins its threads. What it wrote stays. Ending twice is once. On a vCPU's own thread, that one is
    /// not waited for.
    pub fn shutdown(&self) {
        self.shared.end(None);
        let threads = std::mem::take(&mut *lock(&self.threads));
        let (own, others): (Vec<_>, Vec<_>) =
            threads.into_iter().partition(|thread| thread.thread().id() == std::thread::current().id());
        lock(&self.threads).extend(own);
        for thread in others {
            // A vCPU thread reports its own panic as a crash; there is nothing more to learn from the join.
            let _ = thread.join();
        }
        lock(&self.idle).clear();
    }

    /// What stops them for a moment.
    pub fn holder(&self) -> Holder {
        Holder(Arc::clone(&self.shared))
    }

    /// See [`Holder::hold`].
    pub fn hold<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        self.holder().hold(work)
    }

    /// Has `notify` told which vCPU left because its dirty ring is full. Once, before the start.
    pub(super) fn on_ring_full(&self, notify: impl Fn(usize) + Send + Sync + 'static) {
        // Once: a VM has one log.
        let _ = self.shared.ring_full.set(Box::new(notify));
    }

    /// Fails unless the guest runs, and says what it does instead.
    pub fn check_running(&self) -> Result<()> {
        let state = lock(&self.shared.state);
        match state.run {
            RunState::Running => Ok(()),
            RunState::Paused => Err(Error::Paused("the virtual machine is paused".to_owned())),
            _ => Err(refusal(&state, "measured")),
        }
    }
}

impl Drop for Vcpus {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn not_started(state: &State) -> Result<()> {
    match state.run {
        RunState::Created => Ok(()),
        RunState::Running | RunState::Paused => Err(Error::State("the virtual machine was started already".to_owned())),
        RunState::Shutdown | RunState::Crashed => Err(refusal(state, "started")),
    }
}

fn refusal(state: &State, participle: &str) -> Error {
    match (&state.crash, state.run) {
        (Some(crash), _) => crash.into(),
        (_, RunState::Created) => {
            Error::State(format!("the virtual machine cannot be {participle}: it was not started"))
        }
        _ => Error::State(format!("the virtual machine cannot be {participle}: it was shut down")),
    }
}

fn kick_of(vm: &VmFd, vcpu: &VcpuFd) -> Result<Kick> {
    // SAFETY: F_DUPFD_CLOEXEC takes no pointer; the descriptor is open, as `vcpu` owns it.
    let fd = unsafe { libc::fcntl(vcpu.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 0) };
    if fd < 0 {
        return Err(Error::last_ioctl("fcntl(F_DUPFD_CLOEXEC)", || "a vCPU's descriptor".to_owned()));
    }
    // SAFETY: the descriptor was just made, and nobody else owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: it is a vCPU of `vm`, and ownership goes to the wrapper.
    let run_page = unsafe { vm.create_vcpu_from_rawfd(owned.into_raw_fd()) }
        .map_err(|errno| Error::ioctl("mmap", "a vCPU's kvm_run", errno))?;
    Ok(Kick { run_page: Mutex::new(run_page), thread: Mutex::new(None) })
}

/// One vCPU's thread.
struct Thread<'a> {
    id: usize,
    vcpu: VcpuFd,
    shared: &'a Shared,
    exits: &'a dyn ExitHandler,
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
    fn main(mut self) {
        VCPU_OF.set(std::ptr::from_ref(self.shared));
        // SAFETY: pthread_self has no precondition.
        *lock(&self.shared.kicks[self.id].thread) = Some(unsafe { libc::pthread_self() });
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match kick::unblock(self.shared.signal) {
            Ok(()) => {
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
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
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
                Ok(VcpuExit::Intr) => return,
                Ok(VcpuExit::Unsupported(KVM_EXIT_DIRTY_RING_FULL)) => self.ring_full(),
                Ok(VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _)) => Step::Shutdown,
                Ok(other) => Step::Stop(describe(&other)),
                // EINTR: a kick. EAGAIN: a vCPU that waits for INIT or SIPI got it.
                Err(errno) if errno.errno() == libc::EINTR => return,
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

    /// Has the rings harvested, and gives that some time; a ring that is still full then ends KVM_RUN at once again.
    fn ring_full(&self) -> Step {
        let Some(notify) = self.shared.ring_full.get() else {
            return Step::Stop("KVM_EXIT_DIRTY_RING_FULL, on a VM without rings".to_owned());
        };
        notify(self.id);
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
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
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
