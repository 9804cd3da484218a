//! The clock of windows. It follows CLOCK_MONOTONIC, and also knows for how long the guest has stood, that is, was
//! paused or had ended.
//!
//! A guest that is paused writes nothing. A window that spans a pause is therefore longer than the time in which its
//! pages were written, and its rate would come out too low. So each [`Moment`] also has the sum of the pauses until
//! then. The length of a window can leave the pauses out, and a caller can tell whether there was a pause.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many finished pauses the clock remembers one by one. [`GuestClock::at`] needs them for instants that lie a
/// little in the past.
const REMEMBERED_PAUSES: usize = 16;

/// A reading of a [`GuestClock`]. Readings of different clocks cannot be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since the clock was made.
    elapsed: u64,
    /// For how many of these nanoseconds the guest stood.
    stood: u64,
    /// How many pauses had been asked for by then.
    pauses: u64,
}

impl Moment {
    /// The time from `earlier` to this moment; zero if this moment comes first.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.elapsed.saturating_sub(earlier.elapsed))
    }

    /// How long the guest stood between `earlier` and this moment.
    pub fn stood_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.stood.saturating_sub(earlier.stood)).min(self.since(earlier))
    }

    /// How long the guest ran between `earlier` and this moment.
    pub fn ran_since(self, earlier: Self) -> Duration {
        self.since(earlier) - self.stood_since(earlier)
    }

    /// Whether this moment comes before `other`.
    pub fn is_before(self, other: Self) -> bool {
        self.elapsed < other.elapsed
    }

    /// Whether the guest was asked to pause between `earlier` and this moment.
    pub fn paused_since(self, earlier: Self) -> bool {
        self.pauses > earlier.pauses
    }
}

/// The clock of one guest. Clones share one clock: the code that pauses and resumes the guest has one clone, and the
/// guest's dirty memory has another. A clock that is told of no pause runs all the time.
#[derive(Debug, Clone)]
pub struct GuestClock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    epoch: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The time of a clock that is moved by hand.
    by_hand: Option<u64>,
    standing_since: Option<u64>,
    /// The sum of the pauses that are over.
    stood: u64,
    pauses: u64,
    /// The last pauses that are over, each from when to when.
    recent: VecDeque<(u64, u64)>,
}

impl Default for GuestClock {
    fn default() -> Self {
        Self::new()
    }
}

impl GuestClock {
    /// A clock that follows CLOCK_MONOTONIC.
    pub fn new() -> Self {
        Self::with(State::default())
    }

    /// A clock for models and tests. It begins at zero, and only [`advance`](Self::advance) moves it.
    #[cfg(feature = "testing")]
    pub fn by_hand() -> Self {
        Self::with(State { by_hand: Some(0), ..State::default() })
    }

    fn with(state: State) -> Self {
        Self(Arc::new(Inner { epoch: Instant::now(), state: Mutex::new(state) }))
    }

    /// Moves a clock that was made by [`by_hand`](Self::by_hand). Any other clock stays as it is.
    #[cfg(feature = "testing")]
    pub fn advance(&self, by: Duration) {
        if let Some(time) = &mut self.lock().by_hand {
            *time += nanoseconds(by);
        }
    }

    /// The current moment.
    pub fn now(&self) -> Moment {
        let state = self.lock();
        state.moment(state.by_hand.unwrap_or_else(|| nanoseconds(self.0.epoch.elapsed())))
    }

    /// The moment that belongs to an instant, which must not be more than sixteen pauses ago. A clock that is moved by
    /// hand returns its current moment.
    pub fn at(&self, instant: Instant) -> Moment {
        let state = self.lock();
        state.moment(state.by_hand.unwrap_or_else(|| nanoseconds(instant.saturating_duration_since(self.0.epoch))))
    }

    /// Notes that the guest was asked to pause, or to end. It may still run.
    pub fn pause_requested(&self) {
        self.lock().pauses += 1;
    }

    /// Notes that the guest stands from now on. A guest that stands already goes on standing.
    pub fn guest_stands(&self) {
        let mut state = self.lock();
        let now = state.by_hand.unwrap_or_else(|| nanoseconds(self.0.epoch.elapsed()));
        state.standing_since.get_or_insert(now);
    }

    /// Notes that the guest runs from now on.
    pub fn guest_runs(&self) {
        let mut state = self.lock();
        let now = state.by_hand.unwrap_or_else(|| nanoseconds(self.0.epoch.elapsed()));
        if let Some(since) = state.standing_since.take() {
            state.stood += now.saturating_sub(since);
            if state.recent.len() == REMEMBERED_PAUSES {
                state.recent.pop_front();
            }
            state.recent.push_back((since, now));
        }
    }

    /// Pauses that were asked for so far.
    pub fn pauses(&self) -> u64 {
        self.lock().pauses
    }

    /// This is not one of the locks that loom models, because no thread waits for anything while it holds this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn moment(&self, elapsed: u64) -> Moment {
        let standing = self.standing_since.map_or(0, |since| elapsed.saturating_sub(since));
        // The part of the finished pauses that came after the instant.
        let later: u64 = self.recent.iter().map(|(since, until)| until.saturating_sub(elapsed.max(*since))).sum();
        Moment { elapsed, stood: self.stood + standing - later, pauses: self.pauses }
    }
}

/// A clock runs for 584 years before this saturates.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_are_left_out_of_the_time_that_the_guest_ran() {
        let clock = GuestClock::by_hand();
        let opened = clock.now();
        clock.advance(3 * SECOND);
        clock.pause_requested();
        clock.guest_stands();
        clock.advance(5 * SECOND);
        let within = clock.now();
        assert_eq!((within.since(opened), within.ran_since(opened)), (8 * SECOND, 3 * SECOND));
        clock.guest_stands();
        clock.advance(SECOND);
        clock.guest_runs();
        clock.guest_runs();
        clock.advance(2 * SECOND);
        let closed = clock.now();
        assert_eq!((closed.since(opened), closed.stood_since(opened)), (11 * SECOND, 6 * SECOND));
        assert_eq!(closed.ran_since(within), 2 * SECOND);
        assert!(closed.paused_since(opened) && !closed.paused_since(within) && !opened.paused_since(closed));
        assert!(opened.is_before(within) && !within.is_before(opened));
        assert_eq!(opened.since(closed), Duration::ZERO);
    }

    #[test]
    fn an_instant_of_the_past_is_before_the_pause_that_followed_it() {
        let clock = GuestClock::new();
        let (opened, instant) = (clock.now(), Instant::now());
        clock.guest_stands();
        std::thread::sleep(Duration::from_millis(2));
        let inside = Instant::now();
        assert!(clock.now().stood_since(opened) >= Duration::from_millis(2));
        assert_eq!(clock.at(instant).stood_since(opened), Duration::ZERO, "while the guest stands");
        clock.guest_runs();
        assert_eq!(clock.at(instant).stood_since(opened), Duration::ZERO, "and afterwards");
        let stood = clock.at(inside).stood_since(opened);
        assert!(stood >= Duration::from_millis(2) && stood <= clock.now().stood_since(opened));
    }
}
