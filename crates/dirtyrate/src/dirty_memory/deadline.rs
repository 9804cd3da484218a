//! Step 4 at a deadline. Policy chooses the deadlines; this keeps them, on a thread that does nothing else.

use std::time::{Duration, Instant};

use super::{CancelToken, Client, DirtyBits, DirtyMemory, Reap, SyncReport};
use crate::error::{Error, Result};
use crate::sync::MutexGuard;

/// How often a wait looks whether the guest still runs, so that a crash is reported long before a distant deadline.
const LIVENESS_INTERVAL: Duration = Duration::from_millis(20);

/// The sync at one deadline.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadlineReport {
    /// The deadline, from the opening of the client's window.
    pub requested: Duration,
    /// How much later the sync began.
    pub late: Duration,
    /// The sync.
    pub sync: SyncReport,
    /// The client's bits right after it.
    pub reap: Reap,
    /// What the reap took.
    pub reap_took: Duration,
}

/// Syncs at each of `deadlines`, which count from the opening of the client's window, and reaps the client without taking
/// its bits. The calling thread sleeps in between. `alive` is asked now and then whether the guest still runs, and after
/// each sync whether it ran all the time; its error ends the wait.
///
/// # Errors
///
/// [`Error::State`] for a client that does not track, [`Error::Cancelled`], the error of `alive`, and those of
/// [`DirtyMemory::sync`].
pub fn sync_at<'a>(
    lock: impl Fn() -> MutexGuard<'a, DirtyMemory>,
    client: Client,
    deadlines: &[Duration],
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<Vec<DeadlineReport>> {
    let opened = opening(&lock().bits(), client)?;
    let mut reports = Vec::with_capacity(deadlines.len());
    for &requested in deadlines {
        let mut memory = wait_for(&lock, opened, requested, cancel, &alive)?;
        let report = sync_and_reap(&mut memory, client, opened, requested, false, cancel)?;
        drop(memory);
        alive()?;
        reports.push(report);
    }
    Ok(reports)
}

/// As [`sync_at`] for one deadline, but takes the client's bits under the lock of the sync: the client's next window is open.
/// Beside the report, how far from the opening of this window that of the next one is; a schedule of windows without a gap
/// follows from it and from no other clock.
///
/// # Errors
///
/// As of [`sync_at`]; and those of [`DirtyMemory::reap`].
pub fn take_at<'a>(
    lock: impl Fn() -> MutexGuard<'a, DirtyMemory>,
    client: Client,
    deadline: Duration,
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<(DeadlineReport, Duration)> {
    let opened = opening(&lock().bits(), client)?;
    let mut memory = wait_for(&lock, opened, deadline, cancel, &alive)?;
    let report = sync_and_reap(&mut memory, client, opened, deadline, true, cancel)?;
    let reopened = opening(&memory.bits(), client)?.saturating_duration_since(opened);
    drop(memory);
    alive()?;
    Ok((report, reopened))
}

/// When the client's window opened.
fn opening(bits: &DirtyBits, client: Client) -> Result<Instant> {
    bits.check_client(client)?;
    if !bits.is_tracking(client) {
        return Err(Error::State(format!("{client} does not track: start tracking before a window")));
    }
    Ok(bits.window_opened(client).unwrap_or_else(Instant::now))
}

/// The lock, once the deadline has come.
fn wait_for<'a>(
    lock: &impl Fn() -> MutexGuard<'a, DirtyMemory>,
    opened: Instant,
    requested: Duration,
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<MutexGuard<'a, DirtyMemory>> {
    let deadline = opened
        .checked_add(requested)
        .ok_or_else(|| Error::Argument(format!("a deadline in {requested:?} is beyond any clock")))?;
    wait_until(deadline, cancel, alive)?;
    Ok(lock())
}

fn sync_and_reap(
    memory: &mut DirtyMemory,
    client: Client,
    opened: Instant,
    requested: Duration,
    take: bool,
    cancel: &CancelToken,
) -> Result<DeadlineReport> {
    let late = opened.elapsed().saturating_sub(requested);
    let sync = memory.sync(cancel)?;
    let began = Instant::now();
    let reap = memory.reap(client, take)?;
    Ok(DeadlineReport { requested, late, sync, reap, reap_took: began.elapsed() })
}

/// Sleeps until `deadline`, while `alive` says that there is something to wait for.
pub(crate) fn wait_until(deadline: Instant, cancel: &CancelToken, alive: impl Fn() -> Result<()>) -> Result<()> {
    alive()?;
    while Instant::now() < deadline {
        cancel.sleep_until(deadline.min(Instant::now() + LIVENESS_INTERVAL))?;
        alive()?;
    }
    cancel.check()
}
