//! The ledger of windows: when each client's window over each chunk opened and closed, and what the witness read there.
//!
//! A window belongs to one client and one chunk of a block. It opens where the chunk's pages were protected, and it
//! closes at the last fetch *whose bits went to the client*. So nothing that other clients do moves a client's window:
//! their syncs after the client has stopped do not close it again, and turning the log off and on does not open it
//! again.
//!
//! Only an *event* changes windows: a sync, a change of a flag, or the adding or removal of a block. Events are
//! numbered, and every [`Edge`] of a window has the number of its event. The witness is read at the beginning and at
//! the end of each event, so these numbers are enough to find the readings around a window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::witness::{Bounds, Witness, WitnessedWindow};
use super::{Client, DirtyBits};
use crate::clock::{GuestClock, Moment};

/// How many readings of the witness are kept before the ledger looks for readings that no window needs any more.
const KEPT_READINGS: usize = 256;

/// One end of a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub at: Moment,
    /// The number of the event that opened or closed the window here.
    event: u64,
}

impl Edge {
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
    /// If the window was closed after `at`, it simply stays open: no page was protected since `at`, so the log still has
    /// what was written since then, and the next fetch brings it.
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

    /// Puts the window of bits that were `taken` back, and joins it with this window, which has bits that the client got
    /// since, or bits that were put back before. The joined window has the parts of both.
    pub fn put_back(&mut self, taken: &Self) {
        let last_fetch = |window: &Self| window.last_closed().map(Edge::event);
        *self =
            if last_fetch(self) >= last_fetch(taken) { Self::joined(taken, self) } else { Self::joined(self, taken) };
    }

    /// After a sync that could not protect the pages again, the newer window opened before the older one closed. The time
    /// that is in both counts once, and two parts become one.
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

    pub fn first_opened(&self) -> Edge {
        self.first
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

    fn is_of_one_part(&self) -> bool {
        self.parts <= 1
    }
}

/// What the witness read in an event.
#[derive(Debug, Default)]
struct Readings {
    before: Vec<u64>,
    /// After the event's last fetch.
    fetched: Option<Vec<u64>>,
    /// `None` while the event is under way.
    after: Option<Vec<u64>>,
}

/// A client's last clear, take or start, which begins the window that the client asks for.
struct Asked {
    at: Moment,
    event: u64,
    counters: Option<Vec<u64>>,
    /// The counters at the moment when the client stopped.
    stopped: Option<Vec<u64>>,
}

/// What all windows share: the clock, the events, and when each client asked for its window.
pub(super) struct Ledger {
    clock: GuestClock,
    witness: Option<Arc<dyn Witness>>,
    event: u64,
    readings: BTreeMap<u64, Readings>,
    asked: BTreeMap<Client, Asked>,
    /// How many readings may be kept before the readings that no window needs are forgotten.
    most_readings: usize,
}

impl Ledger {
    pub fn new(clock: GuestClock) -> Self {
        Self {
            clock,
            witness: None,
            event: 0,
            readings: BTreeMap::new(),
            asked: BTreeMap::new(),
            most_readings: KEPT_READINGS,
        }
    }

    pub fn clock(&self) -> &GuestClock {
        &self.clock
    }

    /// Sets the witness that is read from now on; `None` for no witness.
    #[cfg(feature = "testing")]
    pub fn set_witness(&mut self, witness: Option<Arc<dyn Witness>>) {
        self.witness = witness;
        self.readings.clear();
    }

    fn read(&self) -> Option<Vec<u64>> {
        self.witness.as_ref().map(|witness| witness.counters())
    }

    /// An edge that belongs to the current event, or to the last one if none is under way.
    pub fn edge(&self, at: Moment) -> Edge {
        Edge { at, event: self.event }
    }

    /// An edge at this moment.
    pub fn edge_now(&self) -> Edge {
        self.edge(self.clock.now())
    }

    /// Notes that a client asks for a window that begins now. An `unbroken` window begins with empty bits. If a client
    /// goes on after a stop, it keeps its bits, and no two readings of the witness bound what is in them.
    pub fn ask(&mut self, client: Client, unbroken: bool) {
        let counters = self.read().filter(|_| unbroken);
        let asked = Asked { at: self.clock.now(), event: self.event, counters, stopped: None };
        self.asked.insert(client, asked);
    }

    /// Notes that a client has stopped. Its bits contain the host's writes until now.
    pub fn stop(&mut self, client: Client) {
        let counters = self.read();
        if let Some(asked) = self.asked.get_mut(&client) {
            asked.stopped = counters;
        }
    }

    pub fn forget(&mut self, client: Client) {
        self.asked.remove(&client);
    }

    /// Whether the guest was asked to pause since the client asked for its window.
    pub fn paused_by(&self, client: Client, moment: Moment) -> bool {
        self.asked.get(&client).is_some_and(|asked| moment.paused_since(asked.at))
    }
}

impl DirtyBits {
    /// Notes that an event begins.
    pub(super) fn begin_event(&mut self) {
        if self.ledger.readings.len() >= self.ledger.most_readings {
            self.forget_readings();
        }
        self.ledger.event += 1;
        if let Some(before) = self.ledger.read() {
            self.ledger.readings.insert(self.ledger.event, Readings { before, ..Readings::default() });
        }
    }

    /// Notes that the log of a block was fetched.
    pub(super) fn note_fetch(&mut self) {
        let fetched = self.ledger.read();
        if let Some(readings) = self.ledger.readings.get_mut(&self.ledger.event) {
            readings.fetched = fetched;
        }
    }

    /// Notes that the current event is over.
    pub(super) fn end_event(&mut self) {
        let after = self.ledger.read();
        if let Some(readings) = self.ledger.readings.get_mut(&self.ledger.event) {
            readings.after = after;
        }
    }

    /// The moment at which the client's window was open in every chunk; `None` if the client never asked for a window.
    /// Deadlines are counted from this moment, because protecting a large guest can take longer than a short window, and
    /// the chunk that was protected last must also be measured for the time that was asked for.
    ///
    /// A block that was added later does not count, because otherwise blocks that come again and again would put a
    /// deadline off for ever. If no other block is left, the deadline is counted from the moment at which the client
    /// asked for its window.
    pub(super) fn window_opened(&self, client: Client) -> Option<Moment> {
        let asked = self.ledger.asked.get(&client)?;
        let here = self.blocks.iter().filter(|block| block.added <= asked.event);
        let windows = here.filter_map(|block| block.bits.get(&client)).flat_map(|bits| &bits.windows);
        let last = windows.map(|window| window.opened.at).reduce(|last, at| if last.is_before(at) { at } else { last });
        Some(last.unwrap_or(asked.at))
    }

    /// Whether the guest was asked to pause between the client's last clear, take or start, and the fetch that closed its
    /// window.
    pub(super) fn paused_in_window(&self, client: Client) -> bool {
        let windows = self.blocks.iter().filter_map(|block| block.bits.get(&client)).flat_map(|bits| &bits.windows);
        windows.filter_map(Window::closed).any(|closed| self.ledger.paused_by(client, closed.at))
    }

    /// The witness's counters around both ends of the client's window. A window that has not closed yet ends where it
    /// opened. `None` without a witness, for a client that stopped before its window closed, and for a window of
    /// several parts, because two pairs of readings cannot bound what was written in several parts.
    #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "only who sets a witness asks for this"))]
    pub(super) fn witnessed_window(&self, client: Client) -> Option<WitnessedWindow> {
        let ledger = &self.ledger;
        let asked = ledger.asked.get(&client)?;
        let now = ledger.read()?;
        let (mut opened, mut closed) = (None::<(u64, u64)>, None::<(u64, u64)>);
        // A block that was added later has a shorter window, and a guest with a known answer does not write there.
        for block in self.blocks.iter().filter(|block| block.added <= asked.event) {
            let tracks = client.follows_log() && client.tracks(&self.tracking, block.vga);
            for window in block.bits.get(&client).into_iter().flat_map(|bits| &bits.windows) {
                if !window.is_of_one_part() {
                    return None;
                }
                let last = window.last_closed().or_else(|| tracks.then_some(window.first))?;
                opened = Some(including(opened, window.first.event));
                closed = Some(including(closed, last.event));
            }
        }
        let ((opened, closed), readings) = (opened.zip(closed)?, &ledger.readings);
        let after = |event| readings.get(&event).map(|of| of.after.clone().unwrap_or_else(|| now.clone()));
        let fetched = |event| readings.get(&event).and_then(|of| of.fetched.clone().or_else(|| of.after.clone()));
        let before = |event| readings.get(&event).map(|of| of.before.clone());
        Some(WitnessedWindow {
            opened: Bounds { before: before(opened.0)?, after: after(opened.1)? },
            cleared: asked.counters.clone()?,
            closed: Bounds { before: before(closed.0)?, after: fetched(closed.1)? },
            reaped: asked.stopped.clone().unwrap_or(now),
        })
    }

    /// Forgets the readings of an event unless an edge of an existing window, or of a chunk's round, belongs to that
    /// event.
    fn forget_readings(&mut self) {
        let mut needed = BTreeSet::new();
        for block in self.blocks.iter().chain(&self.removed) {
            needed.extend(block.chunks.iter().map(|chunk| chunk.opened.event));
            for window in block.bits.values().flat_map(|bits| &bits.windows) {
                needed.extend([window.first, window.opened].iter().chain(&window.closed).map(|edge| edge.event));
            }
        }
        let ledger = &mut self.ledger;
        ledger.readings.retain(|event, _| needed.contains(event));
        ledger.most_readings = KEPT_READINGS.max(2 * ledger.readings.len());
    }
}

/// The smallest range that contains `range` and `event`.
fn including(range: Option<(u64, u64)>, event: u64) -> (u64, u64) {
    range.map_or((event, event), |(first, last)| (first.min(event), last.max(event)))
}

#[cfg(test)]
mod tests {
    use super::super::{DirtyMemory, FakeLog, FakeProtect};
    use super::*;
    use crate::block::{BlockId, BlockInfo};
    use crate::wait::CancelToken;

    struct Ones;

    impl Witness for Ones {
        fn counters(&self) -> Vec<u64> {
            vec![1]
        }
    }

    fn witnessed() -> DirtyMemory {
        let log = FakeLog::new(FakeProtect::Automatic);
        let mut memory = DirtyMemory::new(Box::new(log.clone()), 4096, 1 << 20);
        memory.set_witness(Some(Arc::new(Ones)));
        log.add_block(BlockId(1), 64);
        let info = BlockInfo { id: BlockId(1), name: "ram".to_owned(), guest_address: 0, pages: 64 };
        memory.add_block(info).expect("added");
        memory
    }

    #[test]
    fn readings_that_no_window_needs_are_forgotten() {
        let mut memory = witnessed();
        memory.start_tracking(Client::DirtyRate).expect("step 1");
        for _ in 0..10 * KEPT_READINGS {
            memory.sync(&CancelToken::new()).expect("step 4");
            assert!(memory.bits().ledger.readings.len() <= KEPT_READINGS);
        }
        // The window is as old as the first reading.
        assert!(memory.reap(Client::DirtyRate).expect("step 5").witness.is_some());
    }

    #[test]
    fn readings_that_windows_need_are_not_looked_through_at_each_event() {
        let mut memory = witnessed();
        for _ in 0..2 * KEPT_READINGS {
            let client = memory.bits().open_accumulator();
            memory.start_tracking(client).expect("step 1");
            // The next client's window opens here.
            memory.sync(&CancelToken::new()).expect("step 4");
        }
        let mut bits = memory.bits();
        bits.forget_readings();
        let (kept, most) = (bits.ledger.readings.len(), bits.ledger.most_readings);
        assert!(kept > KEPT_READINGS, "{kept}");
        assert_eq!(most, 2 * kept);
    }

    #[test]
    fn a_client_that_is_gone_leaves_nothing() {
        let mut memory = witnessed();
        for _ in 0..3 {
            let client = memory.bits().open_accumulator();
            memory.start_tracking(client).expect("step 1");
            assert_eq!(memory.bits().ledger.asked.len(), 1);
            memory.abandon(client).expect("its end");
            assert!(memory.bits().ledger.asked.is_empty());
        }
    }
}
