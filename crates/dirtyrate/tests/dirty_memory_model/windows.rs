//! The simplest form of windows: for each client and chunk, the spans of time whose writes the client got.
//!
//! A fetch brings everything that was written since the fetch before it, or since the chunk's pages were protected if
//! there was no fetch before. If a client got that earlier fetch too, its span goes on; otherwise it begins a new span.

use std::collections::BTreeMap;

use dirtyrate::dirty_memory::Client;

use super::pages::Pages;

/// A reading of the clock, which stands unless the test or a call to the log moves it.
pub type Tick = u64;

/// From when to when.
pub type Span = (Tick, Tick);

#[derive(Debug, Clone)]
pub struct Chunk {
    pub pages: Pages,
    /// The first round, all ones, is still open.
    pub first_round: bool,
    /// When the pages were protected.
    pub opened: Tick,
    /// The last fetch since the log went on, or since a first round was dropped.
    pub fetched: Option<Tick>,
    pub told: BTreeMap<Client, Vec<Span>>,
}

impl Chunk {
    pub fn new(pages: Pages, now: Tick) -> Self {
        Self { pages, first_round: false, opened: now, fetched: None, told: BTreeMap::new() }
    }

    pub fn fetch(&mut self, now: Tick, clients: &[Client]) {
        for client in clients {
            let spans = self.told.entry(*client).or_default();
            match spans.last_mut() {
                // Nothing was protected since: the log still has what was fetched, and all since then.
                Some(span) if Some(span.1) == self.fetched || span.1 >= self.opened => span.1 = now,
                _ => spans.push((self.opened, now)),
            }
        }
        self.fetched = Some(now);
    }

    /// The spans of bits that were taken come before the client's. Time that is in both is there once.
    pub fn put_back(&mut self, client: Client, taken: &[Span]) {
        let since = self.told.remove(&client).unwrap_or_default();
        let mut spans = taken.to_vec();
        for span in since {
            match spans.last_mut() {
                Some(last) if last.1 > span.0 => last.1 = last.1.max(span.1),
                _ => spans.push(span),
            }
        }
        if !spans.is_empty() {
            self.told.insert(client, spans);
        }
    }

    pub fn spans(&self, client: Client) -> &[Span] {
        self.told.get(&client).map_or(&[], Vec::as_slice)
    }
}

/// When the guest stood, and what its counter was.
#[derive(Debug, Default)]
pub struct History {
    pub now: Tick,
    stood: Vec<Span>,
    pub standing_since: Option<Tick>,
    pub pauses: u64,
    writes: Vec<Tick>,
}

impl History {
    pub fn pause(&mut self) {
        self.pauses += 1;
        self.standing_since.get_or_insert(self.now);
    }

    pub fn resume(&mut self) {
        self.stood.extend(self.standing_since.take().map(|since| (since, self.now)));
    }

    pub fn guest_writes(&mut self) {
        self.writes.push(self.now);
    }

    /// How often the guest had written by then.
    pub fn counter(&self, at: Tick) -> u64 {
        self.writes.iter().filter(|write| **write <= at).count() as u64
    }

    /// How long the guest stood in a span.
    pub fn stood(&self, (from, to): Span) -> Tick {
        let standing = self.standing_since.map(|since| (since, self.now));
        self.stood.iter().chain(&standing).map(|(since, until)| to.min(*until).saturating_sub(from.max(*since))).sum()
    }

    /// The length of all spans, and how long the guest stood in them.
    pub fn length(&self, spans: &[Span]) -> (Tick, Tick) {
        (spans.iter().map(|(from, to)| to - from).sum(), spans.iter().map(|span| self.stood(*span)).sum())
    }
}

/// A client's last clear, take or start.
#[derive(Debug)]
pub struct Asked {
    pub at: Tick,
    pub pauses: u64,
    /// `None` where bits of before are among the client's.
    pub counter: Option<u64>,
    pub stopped: Option<u64>,
}
