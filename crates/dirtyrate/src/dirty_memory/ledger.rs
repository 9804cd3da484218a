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

use super::client::Client;
use super::window::Edge;
use super::witness::Witness;
use crate::clock::{GuestClock, Moment};

/// How many readings of the witness are kept before the ledger looks for readings that no window needs any more.
pub(super) const KEPT_READINGS: usize = 256;

/// What the witness read in an event.
#[derive(Debug, Default)]
pub(super) struct Readings {
    pub before: Vec<u64>,
    /// After the event's last fetch.
    pub fetched: Option<Vec<u64>>,
    /// `None` while the event is under way.
    pub after: Option<Vec<u64>>,
}

/// A client's last clear, take or start, which begins the window that the client asks for.
pub(super) struct Asked {
    pub at: Moment,
    pub event: u64,
    pub counters: Option<Vec<u64>>,
    /// The counters at the moment when the client stopped.
    pub stopped: Option<Vec<u64>>,
}

/// What all windows share: the clock, the events, and when each client asked for its window.
pub(super) struct Ledger {
    clock: GuestClock,
    witness: Option<Arc<dyn Witness>>,
    event: u64,
    pub readings: BTreeMap<u64, Readings>,
    pub asked: BTreeMap<Client, Asked>,
    /// How many readings may be kept before the readings that no window needs are forgotten.
    pub most_readings: usize,
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

    pub fn read(&self) -> Option<Vec<u64>> {
        self.witness.as_ref().map(|witness| witness.counters())
    }

    /// An edge that belongs to the current event, or to the last one if none is under way.
    pub fn edge(&self, at: Moment) -> Edge {
        Edge::new(at, self.event)
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

    /// Notes that an event begins.
    pub fn begin_event(&mut self) {
        self.event += 1;
        if let Some(before) = self.read() {
            self.readings.insert(self.event, Readings { before, ..Readings::default() });
        }
    }

    /// Notes that the log of a block was fetched.
    pub fn note_fetch(&mut self) {
        let fetched = self.read();
        if let Some(readings) = self.readings.get_mut(&self.event) {
            readings.fetched = fetched;
        }
    }

    /// Notes that the current event is over.
    pub fn end_event(&mut self) {
        let after = self.read();
        if let Some(readings) = self.readings.get_mut(&self.event) {
            readings.after = after;
        }
    }

    /// Whether there are so many readings that those which nobody needs should be forgotten.
    pub fn has_many_readings(&self) -> bool {
        self.readings.len() >= self.most_readings
    }

    /// Forgets the readings of all other events.
    pub fn keep_readings(&mut self, needed: &BTreeSet<u64>) {
        self.readings.retain(|event, _| needed.contains(event));
        self.most_readings = KEPT_READINGS.max(2 * self.readings.len());
    }
}
