//! Step 4 at a deadline. Policy chooses the deadlines; this keeps them, on a thread that does nothing else.

use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use super::{CancelToken, Client, DirtyMemory, Reap, SyncReport};
use crate::error::{Error, Result};

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
    /// The client's bits right after it, not taken.
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
    let opened = {
        let memory = lock();
        let bits = memory.bits();
        bits.check_client(client)?;
        if !bits.is_tracking(client) {
            return Err(Error::State(format!("{client} does not track: start tracking before a window")));
        }
        bits.window_opened(client).unwrap_or_else(Instant::now)
    };
    let mut reports = Vec::with_capacity(deadlines.len());
    for &requested in deadlines {
        let deadline = opened
            .checked_add(requested)
            .ok_or_else(|| Error::Argument(format!("a deadline in {requested:?} is beyond any clock")))?;
        wait_until(deadline, cancel, &alive)?;
        let mut memory = lock();
        let late = Instant::now().saturating_duration_since(deadline);
        let sync = memory.sync(cancel)?;
        let began = Instant::now();
        let reap = memory.reap(client, false)?;
        let reap_took = began.elapsed();
        drop(memory);
        alive()?;
        reports.push(DeadlineReport { requested, late, sync, reap, reap_took });
    }
    Ok(reports)
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
