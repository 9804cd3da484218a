//! The signals that take a vCPU thread out of KVM_RUN.
//!
//! The first one is a real-time signal that no other code of the process uses, so that nothing else is disturbed. But
//! the kernel refuses a real-time signal if RLIMIT_SIGPENDING signals of this user are queued, and another process of
//! the same user can cause that. So there is a second kick signal: a standard signal is never refused, because it needs
//! no place in a queue (signal(7)).

use std::fs;
use std::io;
use std::os::raw::c_int;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, PoisonError};

use vmm_sys_util::signal::{SIGRTMAX, SIGRTMIN};

use dirtyrate::{Error, Result};

/// Standard signals that are seldom used, and that have no effect without a handler. (Go's runtime kicks its own
/// threads by SIGURG for the same reasons.) SIGCONT is not among them, because it would end a stop of the process.
const STANDARD: [c_int; 2] = [libc::SIGURG, libc::SIGWINCH];

/// The standard signals that a VMM may choose for kicks: those that have no meaning for the kernel or the C library.
const CHOOSABLE: [c_int; 4] = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGURG, libc::SIGWINCH];

extern "C" fn interrupt(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // Nothing to do: its arrival is what makes KVM_RUN return EINTR.
}

/// The signals that kick the vCPUs of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KickSignals {
    /// The signal that is tried first.
    pub first: c_int,
    /// The signal that is used if the kernel refuses the first one. `None` if the first one is a standard signal, or if
    /// the host itself uses all of [`STANDARD`].
    pub second: Option<c_int>,
}

impl KickSignals {
    /// Both signals, or the only one.
    pub fn all(self) -> impl Iterator<Item = c_int> {
        std::iter::once(self.first).chain(self.second)
    }
}

/// The signals are chosen once, because a handler belongs to the whole process.
static CHOSEN: Mutex<Option<KickSignals>> = Mutex::new(None);

/// The kick signals of the process. Without [`use_kick_signal`] the first one is the highest real-time signal that has
/// no handler and that no thread blocks. Blocked signals are left out, because a host that waits for a signal by
/// sigwait(3) or signalfd(2) blocks it and has no handler for it.
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

/// Makes this process kick vCPUs by `signal`, instead of an unused signal that this crate finds. Call this before the
/// first vCPU is made.
///
/// # Errors
///
/// [`Error::Argument`] for a signal that is not a real-time one, SIGUSR1, SIGUSR2, SIGURG or SIGWINCH, or that has a
/// handler; [`Error::State`] once another is in use.
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
    // SAFETY: all zeros is a sigaction, a plain structure, whose members are set below. SA_ONSTACK: a thread of another
    // language may have a stack that is too small for a handler. SA_RESTART: where the signal reaches another thread,
    // its system call goes on; KVM_RUN is never restarted.
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

/// The signals that some thread of this process blocks. A thread that blocks every real-time signal does not count,
/// because it only wants to be left alone by all signals.
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

/// The signals that the calling thread blocks. Without /proc, only these are known.
fn own_mask() -> u64 {
    let mut mask = 0u64;
    // SAFETY: with a null new set the kernel only writes the current one, of 64 signals, whose size is the last
    // argument.
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
