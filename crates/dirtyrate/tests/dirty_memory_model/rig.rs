//! Dirty memory and its model side by side: each operation is done to both, and everything that can be seen is
//! compared.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dirtyrate::dirty_memory::{self, Client, DirtyMemory, FakeLog, Witness, put_back, take_at};
use dirtyrate::{BlockId, BlockInfo, CancelToken, Error, GuestClock};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::block::Calls;
use super::compare::reap_of;
use super::faulty_log::{Faults, FaultyLog, SharedFaults};
use super::model::{self, Model, Outcome, Refusal};
use super::operations::{CHUNKS, Operation, PLACE_PAGES, SIZES, Scenario, Step, Who, Written};
use super::pages::Pages;
use super::windows::Tick;

pub const PAGE_SIZE: u64 = 4096;
/// What one tick of the model is.
pub const TICK: Duration = Duration::from_nanos(1);
/// How long a step takes, beside its calls to the log.
const STEP_TICKS: Tick = 7;

/// Counts what the guest writes.
#[derive(Default)]
struct Writes(AtomicU64);

impl Witness for Writes {
    fn counters(&self) -> Vec<u64> {
        vec![self.0.load(Ordering::Relaxed)]
    }
}

/// How often each operation had each outcome.
pub type Tally = BTreeMap<(&'static str, Option<Refusal>), u64>;

/// An operation's name, and what came of it: found, and expected.
type Both = (&'static str, dirtyrate::Result<u64>, Outcome<u64>);

pub fn refusal(error: Error) -> Refusal {
    match error {
        Error::Unsupported(_) => Refusal::Log,
        Error::Cancelled => Refusal::Cancelled,
        Error::Argument(_) | Error::UnknownBlock { .. } | Error::NotOpen { .. } => Refusal::Argument,
        Error::Layout { .. } => Refusal::Layout,
        Error::NotTracking { .. } => Refusal::State,
        Error::State(_) => Refusal::Delete,
        Error::Paused(_) => Refusal::Paused,
        error => panic!("an error that nobody made: {error}"),
    }
}

/// Does a scenario; the number of operations done.
pub fn check(scenario: &Scenario, tally: &mut Tally) -> Result<u64, TestCaseError> {
    let mut rig = Rig::new(scenario);
    let mut done = 0;
    for (number, step) in scenario.steps.iter().enumerate() {
        let at = |error: TestCaseError| match error {
            TestCaseError::Fail(why) => TestCaseError::fail(format!("after step {number}, {step:?}: {why}")),
            reject => reject,
        };
        if let Some((name, outcome)) = rig.step(step).map_err(at)? {
            *tally.entry((name, outcome.err())).or_default() += 1;
            // An argument that is refused does nothing.
            done += u64::from(!matches!(outcome, Err(Refusal::Argument | Refusal::Layout)));
        }
    }
    Ok(done)
}

pub struct Rig {
    memory: Arc<Mutex<DirtyMemory>>,
    clock: GuestClock,
    writes: Arc<Writes>,
    pub log: FakeLog,
    faults: SharedFaults,
    pub model: Model,
    /// The accumulators of the two places, open or not.
    pub accumulators: [Client; 2],
    blocks_made: u64,
    /// What was taken last, with its bitmap, and the same of the model.
    taken: Option<(dirty_memory::Taken, Vec<u64>, model::Taken)>,
    pub steps: usize,
}

impl Rig {
    fn new(scenario: &Scenario) -> Self {
        let (asked, chunk_pages) = CHUNKS[scenario.chunk];
        let log = FakeLog::new(scenario.protect);
        let faults = SharedFaults::default();
        let clock = GuestClock::by_hand();
        let faulty = FaultyLog { log: log.clone(), faults: faults.clone(), chunk_pages, clock: clock.clone() };
        let writes = Arc::new(Writes::default());
        let mut memory = DirtyMemory::with_clock(Box::new(faulty), PAGE_SIZE, asked * PAGE_SIZE, clock.clone());
        memory.set_witness(Some(Arc::clone(&writes) as Arc<dyn Witness>));
        Self {
            memory: Arc::new(Mutex::new(memory)),
            clock,
            writes,
            log,
            faults,
            model: Model::new(scenario.protect, chunk_pages, PAGE_SIZE),
            accumulators: [Client::Accumulator(1000), Client::Accumulator(1001)],
            blocks_made: 0,
            taken: None,
            steps: 0,
        }
    }

    fn client(&self, who: Who) -> Client {
        match who {
            Who::Vga => Client::Vga,
            Who::Code => Client::Code,
            Who::Migration => Client::Migration,
            Who::DirtyRate => Client::DirtyRate,
            Who::Accumulator(place) => self.accumulators[place],
        }
    }

    pub fn memory(&self) -> MutexGuard<'_, DirtyMemory> {
        self.memory.lock().expect("nothing panicked")
    }

    pub fn clients(&self) -> [Client; 6] {
        let [first, second] = self.accumulators;
        [Client::Vga, Client::Code, Client::Migration, Client::DirtyRate, first, second]
    }

    /// Which block, by any number; none if there is none.
    fn block(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.model.blocks.len())
    }

    /// Does one step to both. `None` if there is nothing to do it to.
    fn step(&mut self, step: &Step) -> Result<Option<(&'static str, Outcome<()>)>, TestCaseError> {
        let cancel = match step.operation {
            Operation::Sync { cancel } | Operation::DiscardInitialLog { cancel } | Operation::TakeAt { cancel, .. } => {
                cancel
            }
            _ => None,
        };
        let token = CancelToken::new();
        if cancel == Some(0) {
            token.cancel();
        }
        *self.faults.lock() = Faults {
            calls: Calls::new(&step.faults, cancel),
            token: token.clone(),
            pages: self.model.blocks.iter().map(|block| (block.info.id, block.info.pages)).collect(),
            bits: Some(self.memory().shared_bits()),
        };
        self.model.calls = Calls::new(&step.faults, cancel);
        self.steps += 1;
        self.clock.advance(TICK * STEP_TICKS as u32);
        self.model.history.now += STEP_TICKS;
        let needed_only = self.model.logs_what_is_needed();
        let Some((name, found, expected)) = self.operate(&step.operation, &token)? else { return Ok(None) };
        let found = found.map_err(refusal);
        prop_assert_eq!(found, expected, "the outcome");
        let fired = self.faults.lock().calls.fired;
        prop_assert_eq!(fired, self.model.calls.fired, "the log refused as many calls");

        // What is undone after one refusal leaves nothing on, and what has succeeded has tried all.
        let flags = ["start", "stop", "set log mask on", "set log mask off", "add block", "abandon"].contains(&name);
        let undone = matches!(name, "start" | "set log mask on") && found == Err(Refusal::Log) && fired == 1;
        if (flags && found.is_ok() && needed_only) || undone {
            prop_assert!(self.model.logs_what_is_needed(), "a log is on that nobody needs");
        }
        let synced = matches!(name, "sync" | "discard") && found.is_ok();
        prop_assert_eq!(self.model.broken_promise(&self.clients(), synced), None, "no bit is lost");
        self.compare()?;
        Ok(Some((name, found.map(drop))))
    }

    fn operate(&mut self, operation: &Operation, token: &CancelToken) -> Result<Option<Both>, TestCaseError> {
        let nothing = |()| 0;
        let dirty_memory = Arc::clone(&self.memory);
        let memory = || dirty_memory.lock().expect("nothing panicked");
        let model = &mut self.model;
        let both = match *operation {
            Operation::Start(who) => {
                let client = self.client(who);
                ("start", memory().start_tracking(client).map(nothing), self.model.start(client).map(nothing))
            }
            Operation::Stop(who) => {
                let client = self.client(who);
                ("stop", memory().stop_tracking(client).map(nothing), self.model.stop(client).map(nothing))
            }
            Operation::SetLogMask { block, on } => {
                let name = self.block(block).map_or("none", |at| &self.model.blocks[at].info.name).to_owned();
                let found = memory().set_log_mask(&name, on).map(nothing);
                let expected = self.model.set_log_mask(&name, on).map(nothing);
                (if on { "set log mask on" } else { "set log mask off" }, found, expected)
            }
            Operation::OpenAccumulator(place) => {
                if model.accumulators.contains(&self.accumulators[place]) {
                    return Ok(None);
                }
                let client = memory().bits().open_accumulator();
                prop_assert!(model.accumulators.insert(client), "an accumulator of its own");
                self.accumulators[place] = client;
                ("open", Ok(0), Ok(0))
            }
            Operation::Abandon(who) => {
                let client = self.client(who);
                ("abandon", memory().abandon(client).map(nothing), self.model.abandon(client).map(nothing))
            }
            Operation::GuestWrite { block, pages } => {
                let Some(at) = self.block(block) else { return Ok(None) };
                if self.model.history.standing_since.is_some() {
                    return Ok(None);
                }
                self.writes.0.fetch_add(1, Ordering::Relaxed);
                let info = self.model.blocks[at].info.clone();
                let pages = written(pages, info.pages);
                pages.iter().for_each(|page| self.log.guest_write(info.id, page));
                self.model.guest_write(at, &pages);
                ("guest write", Ok(0), Ok(0))
            }
            Operation::HostWrite { page, offset, bytes } => {
                memory().bits().mark_host_write(page * PAGE_SIZE + offset, bytes);
                model.host_write(page * PAGE_SIZE + offset, bytes);
                ("host write", Ok(0), Ok(0))
            }
            Operation::HostBitmap { block, pages } => {
                let Some(at) = self.block(block) else { return Ok(None) };
                let info = self.model.blocks[at].info.clone();
                let pages = written(pages, info.pages);
                let mut words = vec![0; info.words()];
                pages.iter().for_each(|page| words[page as usize / 64] |= 1 << (page % 64));
                // What lies behind the last page is nobody's.
                if !info.pages.is_multiple_of(64) {
                    *words.last_mut().expect("a block has pages") |= u64::MAX << (info.pages % 64);
                }
                let bits = memory().shared_bits();
                let refused = bits.mark_host_writes(info.id, &words[1..]).map_err(refusal);
                prop_assert_eq!(refused, Err(Refusal::Argument), "a bitmap of another size");
                let marked = bits.mark_host_writes(info.id, &words);
                self.model.host_bitmap(at, &pages);
                ("host bitmap", marked, Ok(pages.iter().count() as u64))
            }
            Operation::Pause => {
                self.clock.pause_requested();
                self.clock.guest_stands();
                self.model.history.pause();
                ("pause", Ok(0), Ok(0))
            }
            Operation::Resume => {
                self.clock.guest_runs();
                self.model.history.resume();
                ("resume", Ok(0), Ok(0))
            }
            Operation::TakeAt { who, cancel: _ } => {
                let client = self.client(who);
                let standing = self.model.history.standing_since.is_some();
                let alive = || if standing { Err(Error::Paused("stands".to_owned())) } else { Ok(()) };
                let found = take_at(memory, client, Duration::ZERO, token, alive);
                ("take at a deadline", found.map(|_| 0), self.model.take_at(client).map(nothing))
            }
            Operation::Sync { .. } => ("sync", memory().sync(token).map(|report| report.pages), model.sync()),
            Operation::DiscardInitialLog { .. } => {
                let found = memory().discard_initial_log(token).map(|report| report.pages);
                ("discard", found, model.discard_initial_log())
            }
            Operation::Clear(who) => {
                let client = self.client(who);
                let ends = self.model.ends_first_round(client);
                let name = if ends { "clear, which ends a first round" } else { "clear" };
                (name, memory().clear(client).map(nothing), self.model.clear(client).map(nothing))
            }
            Operation::Reap { who, take } => {
                let client = self.client(who);
                self.compare_views(client)?;
                let ends = self.model.ends_first_round(client);
                let before = self.expected_reap(client);
                let reap = if take { memory().take(client) } else { memory().reap(client) };
                let expected = if take { self.model.clear(client) } else { self.model.exists(client) };
                let total = before.iter().map(|(_, pages, _)| pages).sum::<u64>();
                if let Ok(reap) = &reap {
                    prop_assert_eq!(reap_of(reap), before, "reap of {}", client);
                }
                let name = match (take, ends) {
                    (false, _) => "reap",
                    (true, false) => "reap and take",
                    (true, true) => "reap and take, which ends a first round",
                };
                (name, reap.map(|reap| reap.pages), expected.map(|()| total))
            }
            Operation::TakeBitmap { who, block } => {
                let Some(at) = self.block(block) else { return Ok(None) };
                let (client, info) = (self.client(who), self.model.blocks[at].info.clone());
                let mut words = vec![u64::MAX; info.words()];
                let found = memory().take_bitmap(client, &info.name, &mut words);
                let expected = self.model.take_bitmap(client, at);
                let pages = words.iter().map(|word| u64::from(word.count_ones())).sum();
                let outcomes = match (found, expected) {
                    (Ok(found), Ok(expected)) => {
                        prop_assert_eq!(&words[..], expected.pages().words(), "the bitmap that was taken");
                        self.taken = Some((found, words, expected));
                        (Ok(pages), Ok(pages))
                    }
                    (found, expected) => (found.map(|_| pages), expected.map(|_| pages)),
                };
                ("take a bitmap", outcomes.0, outcomes.1)
            }
            Operation::PutBack => {
                let Some((found, words, expected)) = self.taken.take() else { return Ok(None) };
                let bits = memory().shared_bits();
                self.model.put_back(&expected);
                ("put back", put_back(&bits, &found, &words).map(nothing), Ok(0))
            }
            Operation::AddBlock { name, place, size } => {
                let guest_address = (1 + place as u64 * PLACE_PAGES) * PAGE_SIZE;
                if model.blocks.iter().any(|block| block.info.guest_address == guest_address) {
                    return Ok(None);
                }
                self.blocks_made += 1;
                let id = BlockId(self.blocks_made);
                let info = BlockInfo { id, name: format!("ram{name}"), guest_address, pages: SIZES[size] };
                self.log.add_block(id, info.pages);
                let found = memory().add_block(info.clone());
                if found.is_err() {
                    self.log.remove_block(id);
                }
                ("add block", found.map(nothing), model.add_block(info).map(nothing))
            }
            Operation::RemoveBlock { block, delete_fails } => {
                let info = self.block(block).map(|at| self.model.blocks[at].info.clone());
                let name = info.as_ref().map_or("none", |info| &info.name);
                let found = memory().remove_block(name, || {
                    if delete_fails {
                        return Err(Error::State("the block stays".to_owned()));
                    }
                    info.iter().for_each(|info| self.log.remove_block(info.id));
                    Ok(())
                });
                ("remove block", found.map(nothing), self.model.remove_block(name, delete_fails).map(nothing))
            }
        };
        Ok(Some(both))
    }
}

fn written(pages: Written, size: u64) -> Pages {
    let mut written = Pages::none(size);
    match pages {
        Written::Run { first, count, step } => (0..count).for_each(|n| written.insert((first + n * step) % size)),
        Written::Last => written.insert(size - 1),
        Written::All => written = Pages::all(size),
    }
    written
}
