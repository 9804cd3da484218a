//! A window of one client over one chunk of a block, and how long it is.

use std::time::Duration;

use crate::clock::Moment;

/// One end of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub at: Moment,
    /// The number of the event that opened or closed the window here.
    event: u64,
}

impl Edge {
    pub fn new(at: Moment, event: u64) -> Self {
        Self { at, event }
    }

    pub fn event(self) -> u64 {
        self.event
    }
}

/// How long a window is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Length {
    /// The time in which the client got the writes.
    pub elapsed: Duration,
    /// How long the guest stood in that time.
    pub stood: Duration,
}

impl Length {
    fn between(opened: Edge, closed: Edge) -> Self {
        Self { elapsed: closed.at.since(opened.at), stood: closed.at.stood_since(opened.at) }
    }

    fn plus(self, other: Self) -> Self {
        Self { elapsed: self.elapsed + other.elapsed, stood: self.stood + other.stood }
    }

    fn less(self, other: Self) -> Self {
        Self { elapsed: self.elapsed.saturating_sub(other.elapsed), stood: self.stood.saturating_sub(other.stood) }
    }

    fn at_most(self, limit: Self) -> Self {
        Self { elapsed: self.elapsed.min(limit.elapsed), stood: self.stood.min(limit.stood) }
    }

    /// The time by which a rate is divided: the time in which the guest ran. If the guest did not run at all, only the
    /// host can have written, and the rate is divided by the whole time.
    pub fn of_rate(self) -> Duration {
        let ran = self.elapsed - self.stood;
        if ran.is_zero() { self.elapsed } else { ran }
    }
}

/// One client's window over one chunk. If a client stops and starts again without a clear, its window has several
/// parts, and the client does not get what was written between two parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Where the first part opened.
    first: Edge,
    /// Where the last part opened.
    opened: Edge,
    /// The last fetch of that part.
    closed: Option<Edge>,
    /// The last fetch of the parts before it.
    closed_before: Option<Edge>,
    /// The length of the parts before it, together.
    parts_before: Length,
    /// How many parts have been fetched, including the last one.
    parts: u32,
    /// The event of the first fetch; `None` before it.
    first_fetch: Option<u64>,
}

impl Window {
    pub fn open(at: Edge) -> Self {
        Self {
            first: at,
            opened: at,
            closed: None,
            closed_before: None,
            parts_before: Length::default(),
            parts: 0,
            first_fetch: None,
        }
    }

    /// Notes that the client got what the fetch that began at `at` has found.
    pub fn close(&mut self, at: Edge) {
        self.parts += u32::from(self.closed.is_none());
        self.closed = Some(at);
        self.first_fetch.get_or_insert(at.event);
    }

    /// Notes that the client does not get what was written before `at` and is not fetched yet, because it did not
    /// track, or because a client dropped the first round. The window goes on at `at`.
    ///
    /// If the window was closed after `at`, it simply stays open: no page was protected since `at`, so the log still
    /// has what was written since then, and the next fetch brings it.
    pub fn go_on(&mut self, at: Edge) {
        match self.closed {
            Some(closed) if at.at.is_before(closed.at) => {}
            Some(_) => {
                *self =
                    Self { opened: at, closed: None, closed_before: self.closed, parts_before: self.length(), ..*self };
            }
            None if self.is_new() => *self = Self::open(at),
            None => self.opened = at,
        }
    }

    /// Puts the window of bits that were `taken` back, and joins it with this window, which has bits that the client
    /// got since, or bits that were put back before. The joined window has the parts of both.
    pub fn put_back(&mut self, taken: &Self) {
        let last_fetch = |window: &Self| window.last_closed().map(Edge::event);
        *self =
            if last_fetch(self) >= last_fetch(taken) { Self::joined(taken, self) } else { Self::joined(self, taken) };
    }

    /// After a sync that could not protect the pages again, the newer window opened before the older one closed. The
    /// time that is in both counts once, and two parts become one.
    fn joined(older: &Self, newer: &Self) -> Self {
        let (Some(until), Some(fetched)) = (older.last_closed(), newer.first_fetch) else { return *newer };
        let overlaps = until.event < fetched && newer.first.at.is_before(until.at);
        let twice = if overlaps { Length::between(newer.first, until) } else { Length::default() };
        let first = if newer.first.at.is_before(older.first.at) { newer.first } else { older.first };
        // If windows are put back in another order than that in which they were taken, `twice` does not have all time
        // that is in both. But all parts lie between the first opening and the last part.
        let last_part = if newer.closed.is_some() { Some(newer.opened) } else { newer.closed_before };
        let most = last_part.map_or(Length::default(), |opened| Length::between(first, opened));
        Self {
            first,
            first_fetch: older.first_fetch.min(newer.first_fetch),
            parts_before: older.length().plus(newer.parts_before).less(twice).at_most(most),
            parts: older.parts + newer.parts - u32::from(overlaps),
            ..*newer
        }
    }

    /// Where the first part opened.
    pub fn first_opened(&self) -> Edge {
        self.first
    }

    /// Where the last part opened.
    pub fn last_opened(&self) -> Edge {
        self.opened
    }

    /// The edges at which a reading of the witness may be asked for.
    pub fn edges(&self) -> impl Iterator<Item = Edge> {
        [self.first, self.opened].into_iter().chain(self.closed)
    }

    /// The last fetch of the last part; `None` before it.
    pub fn closed(&self) -> Option<Edge> {
        self.closed
    }

    /// The last fetch whose bits went to the client; `None` before the first one.
    pub fn last_closed(&self) -> Option<Edge> {
        self.closed.or(self.closed_before)
    }

    pub fn length(&self) -> Length {
        let last = self.closed.map_or(Length::default(), |closed| Length::between(self.opened, closed));
        self.parts_before.plus(last)
    }

    /// Whether no fetch has closed this window yet.
    pub fn is_new(&self) -> bool {
        self.parts == 0
    }

    pub fn is_of_one_part(&self) -> bool {
        self.parts <= 1
    }
}
