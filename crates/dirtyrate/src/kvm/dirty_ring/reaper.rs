//! The thread that empties the rings while the guest runs.

#[cfg(feature = "testing")]
use std::str::FromStr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cursor::Entries;
use super::ring_vm::RingVm;
use super::rings::{Harvested, Rings};
use super::vcpus::{HoldVcpus, hold};
#[cfg(feature = "testing")]
use crate::error::Error;
use crate::error::Result;
use crate::locks::{Condvar, Mutex, lock, wait, wait_timeout};
#[cfg(feature = "testing")]
use crate::names;
use crate::threads;

/// The longest time that the reaper sleeps. A guest that begins to write cannot fill a ring of a useful size in this
/// time.
const LONGEST_PAUSE: Duration = Duration::from_millis(10);
/// The shortest time that the reaper sleeps, so that it leaves the processor to the guest.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);
/// The reaper tries to harvest a ring when its fill is the size of the ring divided by this.
const FILL: u32 = 8;

/// When to harvest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "only tests have them harvested at other times"))]
pub enum Reaping {
    /// Continuously, as fast as the rings fill.
    #[default]
    Run,
    /// Only by the vCPUs themselves, at the watermark, to test what happens when the reaper gets no processor.
    Watermark,
    /// Only when a ring is full, and at a sync, to test what happens with full rings.
    Hold,
}

#[cfg(feature = "testing")]
impl Reaping {
    /// All values, the default first.
    pub const ALL: [Self; 3] = [Self::Run, Self::Watermark, Self::Hold];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Watermark => "watermark",
            Self::Hold => "hold",
        }
    }
}

#[cfg(feature = "testing")]
impl FromStr for Reaping {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("reaper", name, &Self::ALL, Self::name)
    }
}

/// How long the end of a VM waits for the reaper. It ends at once unless the vCPUs cannot be stopped.
const MOST_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Control {
    /// Whether a block is logged. Otherwise no ring fills.
    logging: bool,
    full: bool,
    ended: bool,
    /// Whether the reaper's thread has ended.
    gone: bool,
}

/// What wakes the reaper.
#[derive(Clone, Default)]
pub(super) struct Wake(Arc<(Mutex<Control>, Condvar)>);

impl Wake {
    /// Wakes the reaper because a ring is full.
    pub fn full(&self) {
        lock(&self.0.0).full = true;
        self.0.1.notify_all();
    }

    /// Ends the reaper, because its VM is being closed.
    pub fn end(&self) {
        lock(&self.0.0).ended = true;
        self.0.1.notify_all();
    }

    /// Says whether a block is logged.
    pub fn set_logging(&self, logging: bool) {
        lock(&self.0.0).logging = logging;
        self.0.1.notify_all();
    }

    pub fn is_logging(&self) -> bool {
        lock(&self.0.0).logging
    }

    /// Sleeps until a ring is full, or until the time is over. The time passes only while a block is logged.
    fn wait(&self, pause: Option<Duration>) -> Woken {
        let mut until = None;
        let mut control = lock(&self.0.0);
        while !control.ended && !control.full {
            let Some(pause) = pause.filter(|_| control.logging) else {
                until = None;
                control = wait(&self.0.1, control);
                continue;
            };
            let until = *until.get_or_insert_with(|| Instant::now() + pause);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            control = wait_timeout(&self.0.1, control, left);
        }
        match (control.ended, std::mem::take(&mut control.full)) {
            (true, _) => Woken::Ended,
            (false, true) => Woken::Full,
            (false, false) => Woken::InTime,
        }
    }

    /// Waits until the reaper's thread has ended, at most for `patience`. Returns whether it has ended.
    fn wait_gone(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut control = lock(&self.0.0);
        while !control.gone {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            control = wait_timeout(&self.0.1, control, left);
        }
        true
    }
}

/// Says that the reaper's thread has ended when it goes out of scope, also by a panic.
struct SaysGone<'a>(&'a Wake);

impl Drop for SaysGone<'_> {
    fn drop(&mut self) {
        lock(&self.0.0.0).gone = true;
        self.0.0.1.notify_all();
    }
}

/// Why the reaper is awake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    InTime,
    Full,
    Ended,
}

/// The reaper's thread. Dropping this ends the thread.
pub(super) struct Reaper {
    wake: Wake,
    thread: Option<JoinHandle<()>>,
}

impl Reaper {
    pub fn start(
        rings: Arc<Mutex<Rings>>,
        vcpus: Arc<dyn HoldVcpus>,
        wake: Wake,
        reaping: Reaping,
        size: u32,
    ) -> Result<Self> {
        let woken = wake.clone();
        let thread = threads::spawn("reaper", move || {
            let _gone = SaysGone(&woken);
            run(&rings, &*vcpus, &woken, reaping, size);
        })?;
        Ok(Self { wake, thread: Some(thread) })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.wake.end();
        let Some(thread) = self.thread.take() else { return };
        if self.wake.wait_gone(MOST_PATIENCE) {
            // The only possible failure is a panic of the thread, and then it has ended as well.
            let _ = thread.join();
        } else {
            tracing::error!("the vCPUs could not be stopped for a harvest: the reaper's thread ends when they are");
        }
    }
}

pub(super) fn run<E: Entries, V: RingVm>(
    rings: &Mutex<Rings<E, V>>,
    vcpus: &dyn HoldVcpus,
    wake: &Wake,
    reaping: Reaping,
    size: u32,
) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let woken = wake.wait((reaping == Reaping::Run).then_some(pause));
        if woken == Woken::Ended {
            return;
        }
        // The lock is released between the two harvests, because the vCPUs that `hold` waits for take it when their
        // rings are full.
        let mut harvested = lock(rings).harvest();
        if harvested.as_ref().is_ok_and(|harvested| woken == Woken::Full || !harvested.in_step || harvested.overrun) {
            // The rings may be out of step with the kernel. This can be found out, and corrected, only while no vCPU
            // writes.
            harvested = hold(vcpus, || lock(rings).harvest_stopped()).and_then(|stopped| stopped);
        }
        match harvested {
            Ok(harvested) => pause = next_pause(pause, &harvested, size),
            Err(error) => {
                tracing::error!(%error, "the dirty rings could not be harvested; the next sync tries again");
                pause = LONGEST_PAUSE;
            }
        }
    }
}

/// The next pause: twice as long if the rings are far less full than they may be, half as long if they are fuller.
fn next_pause(pause: Duration, harvested: &Harvested, size: u32) -> Duration {
    let target = size / FILL;
    let next = if harvested.most > target {
        pause / 2
    } else if harvested.most < target / 2 {
        pause * 2
    } else {
        pause
    };
    next.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}
