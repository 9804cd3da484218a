//! Step 4 at a deadline. Policy chooses the deadlines; this keeps them, on a thread that does nothing else.

use std::ops::DerefMut;
use std::time::{Duration, Instant};

use super::{Client, DirtyBits, DirtyMemory, Reap, SyncReport};
use crate::clock::Moment;
use crate::error::{Error, Result};
use crate::wait::{CancelToken, wait_until};

/// The sync at one deadline.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadlineReport {
    /// The deadline, from when the client's window was open in every chunk.
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

/// Syncs at each of `deadlines`, which count from when the client's window was open in every chunk, and reaps the client without taking
/// its bits. The calling thread sleeps in between. `alive` is asked now and then whether the guest still runs; its error
/// ends the wait. `lock` gives the dirty memory, behind whatever lock the VMM keeps it: it is asked for anew after each wait.
///
/// The guest must run from the client's last clear, take or start until the fetch that closes the window. A pause after that
/// changes nothing of the result.
///
/// # Errors
///
/// [`Error::NotTracking`]; [`Error::Paused`]; [`Error::Cancelled`]; the error of `alive`, and those
/// of [`DirtyMemory::sync`].
pub fn sync_at<G: DerefMut<Target = DirtyMemory>>(
    lock: impl Fn() -> G,
    client: Client,
    deadlines: &[Duration],
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<Vec<DeadlineReport>> {
    let mut reports = Vec::with_capacity(deadlines.len());
    for &requested in deadlines {
        let (mut memory, opened) = wait_for(&lock, client, requested, cancel, &alive)?;
        let (late, sync) = sync(&mut memory, client, opened, requested, cancel, &alive)?;
        reports.push(reaped(&mut memory, client, requested, late, sync, DirtyMemory::reap)?);
    }
    Ok(reports)
}

/// As [`sync_at`] for one deadline, but takes the client's bits under the lock of the sync: the client's next window is open.
/// Beside the report, how far from the opening of this window that of the next one is; a schedule of windows without a gap
/// follows from it and from no other clock.
///
/// # Errors
///
/// As of [`sync_at`]; and those of [`DirtyMemory::reap`]. Nothing is taken then.
pub fn take_at<G: DerefMut<Target = DirtyMemory>>(
    lock: impl Fn() -> G,
    client: Client,
    deadline: Duration,
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<(DeadlineReport, Duration)> {
    let (mut memory, opened) = wait_for(&lock, client, deadline, cancel, &alive)?;
    let (late, sync) = sync(&mut memory, client, opened, deadline, cancel, &alive)?;
    let report = reaped(&mut memory, client, deadline, late, sync, DirtyMemory::take)?;
    let reopened = opening(&memory.bits(), client)?.since(opened);
    Ok((report, reopened))
}

/// When the client's window was open in every chunk.
fn opening(bits: &DirtyBits, client: Client) -> Result<Moment> {
    bits.check_client(client)?;
    if !bits.is_tracking(client) {
        return Err(Error::NotTracking { client: client.to_string() });
    }
    Ok(bits.window_opened(client).unwrap_or_else(|| bits.ledger.clock().now()))
}

/// The lock once the deadline has come, and when the client's window was open in every chunk.
fn wait_for<G: DerefMut<Target = DirtyMemory>>(
    lock: &impl Fn() -> G,
    client: Client,
    requested: Duration,
    cancel: &CancelToken,
    alive: &impl Fn() -> Result<()>,
) -> Result<(G, Moment)> {
    let bits = lock().shared_bits();
    // How much is left of the window, by the clock of windows.
    let left = || {
        let bits = bits.lock();
        let (opened, now) = (opening(&bits, client)?, bits.ledger.clock().now());
        if bits.ledger.paused_by(client, now) {
            return Err(paused_within());
        }
        Ok((requested.saturating_sub(length(opened, now)), opened))
    };
    loop {
        let (left, opened) = left()?;
        if left.is_zero() {
            alive()?;
            cancel.check()?;
            let memory = lock();
            // Somebody may have dropped a first round meanwhile: then the window opened there.
            if opening(&memory.bits(), client)? == opened {
                return Ok((memory, opened));
            }
            continue;
        }
        let deadline = Instant::now()
            .checked_add(left)
            .ok_or_else(|| Error::Argument(format!("a deadline in {requested:?} is beyond any clock")))?;
        wait_until(deadline, cancel, || {
            alive()?;
            let bits = bits.lock();
            if bits.ledger.paused_by(client, bits.ledger.clock().now()) { Err(paused_within()) } else { Ok(()) }
        })?;
    }
}

/// How long a window is that opened at `opened`, if it closes `now`: by the time that the guest ran, if it ran at all.
fn length(opened: Moment, now: Moment) -> Duration {
    let ran = now.ran_since(opened);
    if ran.is_zero() { now.since(opened) } else { ran }
}

/// What a measurement ends with whose guest did not run all the time.
pub fn paused_within() -> Error {
    Error::Paused("the virtual machine was paused within the window".to_owned())
}

/// Step 4: how late it began, and its report. Fails if the guest did not run until then.
fn sync(
    memory: &mut DirtyMemory,
    client: Client,
    opened: Moment,
    requested: Duration,
    cancel: &CancelToken,
    alive: &impl Fn() -> Result<()>,
) -> Result<(Duration, SyncReport)> {
    let late = length(opened, memory.bits().ledger.clock().now()).saturating_sub(requested);
    let sync = memory.sync(cancel)?;
    match alive() {
        // A pause that came after the fetch is not in the window.
        Ok(()) | Err(Error::Paused(_)) => {}
        Err(error) => return Err(error),
    }
    if memory.bits().paused_in_window(client) { Err(paused_within()) } else { Ok((late, sync)) }
}

/// Step 5.
fn reaped(
    memory: &mut DirtyMemory,
    client: Client,
    requested: Duration,
    late: Duration,
    sync: SyncReport,
    reap: fn(&mut DirtyMemory, Client) -> Result<Reap>,
) -> Result<DeadlineReport> {
    let began = Instant::now();
    let reap = reap(memory, client)?;
    Ok(DeadlineReport { requested, late, sync, reap, reap_took: began.elapsed() })
}
