//! Reading a guest's own counters at the edges of a window, so that a measurement can be held against the truth.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Client;

/// Counters that the guest raises as it writes. Read before and after the calls that open and close a window, they bound
/// what the guest wrote inside it.
pub trait Witness: Send + Sync {
    /// The counters at this instant. What they mean is the witness's affair.
    ///
    /// Called while the bits are locked: it must lock nothing of the VM's, nor ask the VM for its memory.
    fn counters(&self) -> Vec<u64>;
}

/// The counters before an event that takes time, and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Read before the first call of it.
    pub before: Vec<u64>,
    /// Read after the last call of it.
    pub after: Vec<u64>,
}

/// The counters around both ends of a client's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedWindow {
    /// Around the sync that opened it.
    pub opened: Bounds,
    /// When the client's bits were cleared: from here on the host's own writes are in them.
    pub cleared: Vec<u64>,
    /// Around the fetches that closed it.
    pub closed: Bounds,
    /// When the bits were reaped: until here the host's own writes are in them.
    pub reaped: Vec<u64>,
}

/// The readings of the last sync, and for each client those of the sync that opened its window.
#[derive(Default)]
pub(super) struct Marks {
    witness: Option<Arc<dyn Witness>>,
    begun: Option<Vec<u64>>,
    last_fetch: Option<Vec<u64>>,
    opening: Option<Bounds>,
    closing: Option<Bounds>,
    opened: BTreeMap<Client, (Bounds, Vec<u64>)>,
}

impl Marks {
    pub fn new(witness: Option<Arc<dyn Witness>>) -> Self {
        Self { witness, ..Self::default() }
    }

    fn read(&self) -> Option<Vec<u64>> {
        self.witness.as_ref().map(|witness| witness.counters())
    }

    /// A sync begins.
    pub fn begin(&mut self) {
        self.begun = self.read();
        self.last_fetch = None;
    }

    /// A block's log was fetched.
    pub fn fetched(&mut self) {
        self.last_fetch = self.read();
    }

    /// The sync that began is over. If it did not reach every block, some rounds began with it and some before: the bounds
    /// are those of both.
    pub fn end(&mut self, complete: bool) {
        let Some((before, after)) = self.begun.take().zip(self.read()) else { return };
        let fetched = self.last_fetch.take();
        if complete {
            self.closing = fetched.map(|after| Bounds { before: before.clone(), after });
            self.opening = Some(Bounds { before, after });
        } else {
            if let (Some(closing), Some(fetched)) = (&mut self.closing, fetched) {
                closing.after = fetched;
            }
            if let Some(opening) = &mut self.opening {
                opening.after = after;
            }
        }
    }

    /// The client's window begins with the round that the last sync opened.
    pub fn open(&mut self, client: Client) {
        match (&self.opening, self.read()) {
            (Some(opening), Some(cleared)) => self.opened.insert(client, (opening.clone(), cleared)),
            _ => self.opened.remove(&client),
        };
    }

    pub fn forget(&mut self, client: Client) {
        self.opened.remove(&client);
    }

    /// The client's window so far.
    pub fn window(&self, client: Client) -> Option<WitnessedWindow> {
        let (opened, cleared) = self.opened.get(&client)?.clone();
        let mut closed = self.closing.clone()?;
        if let Some(fetched) = &self.last_fetch {
            // A sync is under way, and the client has some of what it fetched.
            closed.after.clone_from(fetched);
        }
        Some(WitnessedWindow { opened, cleared, closed, reaped: self.read()? })
    }
}
