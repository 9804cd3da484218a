//! The ledger's events, as the bits of all clients draw them, and what the ledger says about a client's window.

use std::collections::BTreeSet;

use super::bits::DirtyBits;
use super::client::Client;
use super::window::{Edge, Window};
use super::witness::{Bounds, WitnessedWindow};
use crate::clock::Moment;

impl DirtyBits {
    /// Notes that an event begins.
    pub(super) fn begin_event(&mut self) {
        if self.ledger.has_many_readings() {
            self.forget_readings();
        }
        self.ledger.begin_event();
    }

    /// The moment at which the client's window was open in every chunk; `None` if the client never asked for a window.
    /// Deadlines are counted from this moment, because protecting a large guest can take longer than a short window,
    /// and the chunk that was protected last must also be measured for the time that was asked for.
    ///
    /// A block that was added later does not count, because otherwise blocks that come again and again would put a
    /// deadline off for ever. If no other block is left, the deadline is counted from the moment at which the client
    /// asked for its window.
    pub(super) fn window_opened(&self, client: Client) -> Option<Moment> {
        let asked = self.ledger.asked.get(&client)?;
        let here = self.blocks.iter().filter(|block| block.added <= asked.event);
        let windows = here.filter_map(|block| block.bits.get(&client)).flat_map(|bits| &bits.windows);
        let last =
            windows.map(|window| window.last_opened().at).reduce(|last, at| if last.is_before(at) { at } else { last });
        Some(last.unwrap_or(asked.at))
    }

    /// Whether the guest was asked to pause between the client's last clear, take or start, and the fetch that closed
    /// its window.
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
                let last = window.last_closed().or_else(|| tracks.then_some(window.first_opened()))?;
                opened = Some(including(opened, window.first_opened().event()));
                closed = Some(including(closed, last.event()));
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
            needed.extend(block.chunks.iter().map(|chunk| chunk.opened.event()));
            let windows = block.bits.values().flat_map(|bits| &bits.windows);
            needed.extend(windows.flat_map(Window::edges).map(Edge::event));
        }
        self.ledger.keep_readings(&needed);
    }
}

/// The smallest range that contains `range` and `event`.
fn including(range: Option<(u64, u64)>, event: u64) -> (u64, u64) {
    range.map_or((event, event), |(first, last)| (first.min(event), last.max(event)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fake_log::{FakeLog, FakeProtect};
    use super::super::ledger::KEPT_READINGS;
    use super::super::memory::DirtyMemory;
    use super::super::witness::Witness;
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
