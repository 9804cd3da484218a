//! Step 4 at a deadline. The caller chooses the deadlines; the functions here keep them, on a thread that does nothing
//! else.

use std::ops::DerefMut;
use std::time::{Duration, Instant};

use super::bits::DirtyBits;
use super::breakdown::ReapOptions;
use super::client::Client;
use super::memory::DirtyMemory;
use super::reap::Reap;
use super::sync::SyncReport;
use crate::clock::Moment;
use crate::error::{Error, Result};
use crate::wait::{CancelToken, wait_until};

/// The sync at one deadline.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DeadlineReport {
    /// The deadline, counted from the moment at which the client's window was open in every chunk.
    pub requested: Duration,
    /// How much later than the deadline the sync began.
    pub late: Duration,
    /// The report of the sync.
    pub sync: SyncReport,
    /// The client's bits right after it.
    pub reap: Reap,
    /// How long the reap took.
    pub reap_took: Duration,
}

/// Syncs at each of `deadlines`, and reaps the client without taking its bits. Deadlines are counted from the moment at
/// which the client's window was open in every chunk. The calling thread sleeps in between. Now and then it calls
/// `alive`, which says whether the guest still runs; an error of `alive` ends the wait. `lock` locks the dirty memory,
/// with whatever lock the VMM keeps it behind, and is called again after each wait.
///
/// Blocks may come and go meanwhile. If every block of the window's opening is removed, deadlines are counted from the
/// client's last clear, take or start.
///
/// The guest must run from the client's last clear, take or start until the fetch that closes the window. A later pause
/// does not change the result.
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
    sync_at_with(lock, client, deadlines, &ReapOptions::default(), cancel, alive)
}

/// The same as [`sync_at`], with reaps that count what `options` ask for.
///
/// # Errors
///
/// Those of [`sync_at`] and of [`DirtyBits::reap_with`].
pub fn sync_at_with<G: DerefMut<Target = DirtyMemory>>(
    lock: impl Fn() -> G,
    client: Client,
    deadlines: &[Duration],
    options: &ReapOptions,
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<Vec<DeadlineReport>> {
    check(&lock, options)?;
    let mut reports = Vec::with_capacity(deadlines.len());
    for &requested in deadlines {
        let (mut memory, opened) = wait_for(&lock, client, requested, cancel, &alive)?;
        let (late, sync) = sync(&mut memory, client, opened, requested, cancel, &alive)?;
        let began = Instant::now();
        let reap = memory.bits().reap_with(client, options)?;
        reports.push(DeadlineReport { requested, late, sync, reap, reap_took: began.elapsed() });
    }
    Ok(reports)
}

/// Does what [`sync_at`] does for one deadline, but takes the client's bits under the lock of the sync, so that the
/// client's next window is open. Beside the report this returns the time from the opening of this window to the opening
/// of the next one, so that a caller can schedule windows without a gap and without another clock.
///
/// # Errors
///
/// Those of [`sync_at`] and of [`DirtyMemory::take`]. Nothing is taken then.
pub fn take_at<G: DerefMut<Target = DirtyMemory>>(
    lock: impl Fn() -> G,
    client: Client,
    deadline: Duration,
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<(DeadlineReport, Duration)> {
    take_at_with(lock, client, deadline, &ReapOptions::default(), cancel, alive)
}

/// The same as [`take_at`], with a reap that counts what `options` ask for.
///
/// # Errors
///
/// Those of [`take_at`] and of [`DirtyBits::reap_with`]. Nothing is taken then.
pub fn take_at_with<G: DerefMut<Target = DirtyMemory>>(
    lock: impl Fn() -> G,
    client: Client,
    requested: Duration,
    options: &ReapOptions,
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<(DeadlineReport, Duration)> {
    check(&lock, options)?;
    let (mut memory, opened) = wait_for(&lock, client, requested, cancel, &alive)?;
    let (late, sync) = sync(&mut memory, client, opened, requested, cancel, &alive)?;
    let began = Instant::now();
    let reap = memory.take_with(client, options)?;
    let report = DeadlineReport { requested, late, sync, reap, reap_took: began.elapsed() };
    let reopened = opening(&memory.bits(), client)?.since(opened);
    Ok((report, reopened))
}

/// Checks `options` before anybody waits.
fn check<G: DerefMut<Target = DirtyMemory>>(lock: &impl Fn() -> G, options: &ReapOptions) -> Result<()> {
    let page_size = lock().bits().page_size();
    options.check(page_size)
}

/// The moment at which the client's window was open in every chunk.
fn opening(bits: &DirtyBits, client: Client) -> Result<Moment> {
    bits.check_client(client)?;
    let opened = if bits.is_tracking(client) { bits.window_opened(client) } else { None };
    opened.ok_or_else(|| Error::NotTracking { client: client.to_string() })
}

/// Waits for the deadline. Returns the lock, and the moment at which the client's window was open in every chunk.
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
            // Another client may have dropped a first round meanwhile, and then the window opened later.
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

/// The length of a window that opened at `opened` and closes `now`. Only the time in which the guest ran counts, if it
/// ran at all.
fn length(opened: Moment, now: Moment) -> Duration {
    let ran = now.ran_since(opened);
    if ran.is_zero() { now.since(opened) } else { ran }
}

/// The error of a measurement whose guest did not run all the time.
pub fn paused_within() -> Error {
    Error::Paused("the virtual machine was paused within the window".to_owned())
}

/// Step 4. Returns how late the sync began, and its report. Fails if the guest did not run until then.
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
