//! The signals that take a vCPU thread out of KVM_RUN.
//!
//! The first is a real-time signal that nobody uses, so that nothing else of the process is disturbed. But the kernel refuses a
//! real-time signal once its user has RLIMIT_SIGPENDING of them queued, which another process of that user can bring about. So there is
//! a second: a standard signal is never refused, because it needs no place in a queue (signal(7)).

use std::fs;
use std::io;
use std::os::raw::c_int;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, PoisonError};

use vmm_sys_util::signal::{SIGRTMAX, SIGRTMIN};

use dirtyrate::{Error, Result};

/// Standard signals that do nothing unless somebody handles them, and that are seldom used: SIGURG (Go's runtime kicks its own threads
/// by it for the same reasons). Never SIGCONT, which would end a stop of the process.
const STANDARD: [c_int; 2] = [libc::SIGURG, libc::SIGWINCH];

/// Signals by which a VMM may kick that names its own: those that mean nothing to the kernel or the C library.
const CHOOSABLE: [c_int; 4] = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGURG, libc::SIGWINCH];

extern "C" fn interrupt(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // Nothing to do: its arrival is what makes KVM_RUN return EINTR.
}

/// The signals that kick the vCPUs of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KickSignals {
    /// Tried first.
    pub first: c_int,
    /// Where the kernel refuses the first; `None` if the first is a standard signal, or the host uses all of [`STANDARD`] itself.
    pub second: Option<c_int>,
}

impl KickSignals {
    /// Both signals, or the only one.
    pub fn all(self) -> impl Iterator<Item = c_int> {
        std::iter::once(self.first).chain(self.second)
    }
}

/// Chosen once, because a handler belongs to the whole process.
static CHOSEN: Mutex<Option<KickSignals>> = Mutex::new(None);

/// The process's kick signals. Without [`use_kick_signal`] the first is the highest real-time signal that nobody handles or has
/// blocked, because a host that waits for a signal by sigwait(3) or signalfd(2) leaves it unhandled, and blocks it.
///
/// # Errors
///
/// [`Error::Unsupported`] if every real-time signal is in use.
pub(super) fn signals() -> Result<KickSignals> {
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(signals) = *chosen {
        return Ok(signals);
    }
    let blocked = blocked_signals();
    let first = (SIGRTMIN()..=SIGRTMAX()).rev().find(|&number| is_free(number, blocked)).ok_or_else(|| {
        let text = "every real-time signal of this process is handled or blocked: none is left for kicking vCPUs";
        Error::Unsupported(text.to_owned())
    })?;
    take(first)?;
    let second = STANDARD.into_iter().find(|&number| is_free(number, blocked)).filter(|&number| take(number).is_ok());
    Ok(*chosen.insert(KickSignals { first, second }))
}

/// Has the vCPUs of this process kicked by `signal` instead of one that this crate finds unused. Before the first vCPU is made.
///
/// # Errors
///
/// [`Error::Argument`] for a signal that is not a real-time one, SIGUSR1, SIGUSR2, SIGURG or SIGWINCH, or that has a handler;
/// [`Error::State`] once another is in use.
pub fn use_kick_signal(signal: c_int) -> Result<()> {
    let real_time = (SIGRTMIN()..=SIGRTMAX()).contains(&signal);
    if !real_time && !CHOOSABLE.contains(&signal) {
        let text = format!("signal {signal} cannot kick vCPUs: give a real-time signal, SIGUSR1, SIGUSR2 or SIGURG");
        return Err(Error::Argument(text));
    }
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(signals) = *chosen {
        if signals.first == signal {
            return Ok(());
        }
        let text = format!("vCPUs of this process are kicked by signal {}: choose before the first VM", signals.first);
        return Err(Error::State(text));
    }
    if !has_default_action(signal) {
        return Err(Error::Argument(format!("signal {signal} has a handler already: vCPUs cannot be kicked by it")));
    }
    take(signal)?;
    let blocked = blocked_signals();
    let second = real_time.then(|| STANDARD.into_iter().find(|&number| is_free(number, blocked))).flatten();
    *chosen = Some(KickSignals { first: signal, second: second.filter(|&number| take(number).is_ok()) });
    Ok(())
}

fn is_free(number: c_int, blocked: u64) -> bool {
    blocked & bit(number) == 0 && has_default_action(number)
}

fn bit(number: c_int) -> u64 {
    1 << (number - 1)
}

fn has_default_action(number: c_int) -> bool {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: with a null new action, sigaction only writes the current one, to a place that has room for it.
    if unsafe { libc::sigaction(number, null(), current.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: sigaction succeeded and wrote the whole structure.
    unsafe { current.assume_init() }.sa_sigaction == libc::SIG_DFL
}

/// Gives a signal the handler that does nothing.
fn take(number: c_int) -> Result<()> {
    // SAFETY: all zeros is a sigaction, a plain structure, whose members are set below. SA_ONSTACK: a thread of another language may
    // have a stack that is too small for a handler. SA_RESTART: where the signal reaches another thread, its system call goes on;
    // KVM_RUN is never restarted.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = interrupt as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(number, &action, null_mut())
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::refused("sigaction", format!("signal {number}, for kicking vCPUs"), io::Error::last_os_error()))
}

/// The signals that a thread of this process has blocked. A thread that blocks every real-time signal says nothing about any of them:
/// such are threads that no signal is to disturb.
fn blocked_signals() -> u64 {
    let real_time = (SIGRTMIN()..=SIGRTMAX()).fold(0, |all, number| all | bit(number));
    let of_thread = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let masks = threads.filter_map(|thread| of_thread(fs::read_to_string(thread.path().join("status")).ok()?));
    masks
        .chain(std::iter::once(own_mask()))
        .filter(|mask| mask & real_time != real_time)
        .fold(0, |all, mask| all | mask)
}

/// What the calling thread has blocked: all that is known where there is no /proc.
fn own_mask() -> u64 {
    let mut mask = 0u64;
    // SAFETY: with a null new set the kernel only writes the current one, of 64 signals, whose size is the last argument.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, null::<u64>(), &raw mut mask, size_of::<u64>());
    }
    mask
}

/// Lets the kick signals reach the calling thread, whatever mask it inherited.
pub(super) fn unblock(signals: KickSignals) -> Result<()> {
    signals.all().try_for_each(|number| {
        vmm_sys_util::signal::unblock_signal(number)
            .map_err(|error| Error::Unsupported(format!("signal {number} could not be unblocked: {error}")))
    })
}
