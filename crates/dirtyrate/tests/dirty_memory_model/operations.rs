//! What can happen to a VM's dirty memory, in random order. Operations name blocks and clients by small numbers, so
//! that a sequence still means something after shrinking has taken operations out of it.

use dirtyrate::dirty_memory::{FakeCall, FakeProtect};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

/// Sizes of blocks: below, at and above a word and a chunk, and none of them near one.
pub const SIZES: [u64; 12] = [1, 2, 3, 63, 64, 65, 127, 128, 130, 193, 515, PLACE_PAGES];
/// Pages from one place for a block to the next, so that the largest block ends where the next begins.
pub const PLACE_PAGES: u64 = 1000;
/// Places, and names, for blocks.
pub const PLACES: usize = 5;
pub const NAMES: usize = 4;
/// A chunk as it is asked for in pages, and what it is rounded up to.
pub const CHUNKS: [(u64, u64); 4] = [(64, 64), (128, 128), (1, 64), (65, 128)];

/// One VM's life.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub protect: FakeProtect,
    /// Which of [`CHUNKS`].
    pub chunk: usize,
    pub steps: Vec<Step>,
}

/// An operation, and which of the log's calls fail in it: the n-th of its kind, from 0.
#[derive(Debug, Clone)]
pub struct Step {
    pub operation: Operation,
    pub faults: Vec<(FakeCall, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Vga,
    Code,
    Migration,
    DirtyRate,
    /// One of two places for an accumulator, which may be closed.
    Accumulator(usize),
}

#[derive(Debug, Clone)]
pub enum Operation {
    Start(Who),
    Stop(Who),
    SetLogMask {
        block: usize,
        on: bool,
    },
    OpenAccumulator(usize),
    Abandon(Who),
    GuestWrite {
        block: usize,
        pages: Written,
    },
    /// `page` counts from guest address 0 over blocks and holes alike.
    HostWrite {
        page: u64,
        offset: u64,
        bytes: u64,
    },
    /// The host wrote pages of a block, and says so by a bitmap.
    HostBitmap {
        block: usize,
        pages: Written,
    },
    /// `cancel` is the number of calls to the log after which somebody cancels.
    Sync {
        cancel: Option<usize>,
    },
    DiscardInitialLog {
        cancel: Option<usize>,
    },
    Clear(Who),
    /// The guest is paused, or paused again.
    Pause,
    /// It goes on.
    Resume,
    /// The steps 4 and 5 at a deadline that has come.
    TakeAt {
        who: Who,
        cancel: Option<usize>,
    },
    Reap {
        who: Who,
        take: bool,
    },
    /// Takes the bits of a block, and keeps them in place of those that were taken before.
    TakeBitmap {
        who: Who,
        block: usize,
    },
    /// Gives back what was taken last.
    PutBack,
    AddBlock {
        name: usize,
        place: usize,
        size: usize,
    },
    RemoveBlock {
        block: usize,
        delete_fails: bool,
    },
}

/// Pages of a block of any size.
#[derive(Debug, Clone, Copy)]
pub enum Written {
    /// `count` pages from `first` on, each `step` after the one before, around the block's end.
    Run {
        first: u64,
        count: u64,
        step: u64,
    },
    /// The last page.
    Last,
    All,
}

/// The clients of a scenario. With few clients logging is often turned off and on again; with many it stays on.
const CASTS: [&[Who]; 6] = [
    &[Who::DirtyRate],
    &[Who::Migration],
    &[Who::Migration, Who::Code, Who::DirtyRate],
    &[Who::Vga, Who::DirtyRate],
    &[Who::DirtyRate, Who::Migration, Who::Accumulator(0)],
    &[Who::Vga, Who::Code, Who::Migration, Who::DirtyRate, Who::Accumulator(0), Who::Accumulator(1)],
];

pub fn scenario(protect: FakeProtect) -> impl Strategy<Value = Scenario> {
    let begin = vec(add_block().prop_map(|operation| Step { operation, faults: Vec::new() }), 1..=PLACES);
    let some = |cast| {
        prop_oneof![
            40 => step(cast).prop_map(|step| vec![step]),
            1 => flags_while_the_log_fails(cast),
            1 => first_round_that_ends_in_parts(cast),
            1 => bits_put_back_after_a_sync_that_failed(cast),
        ]
    };
    let steps = Union::new(CASTS.map(|cast| vec(some(cast), 1..150)));
    (0..CHUNKS.len(), begin, steps).prop_map(move |(chunk, mut steps, rest)| {
        steps.extend(rest.into_iter().flatten());
        Scenario { protect, chunk, steps }
    })
}

fn step(cast: &'static [Who]) -> impl Strategy<Value = Step> {
    let call = prop_oneof![Just(FakeCall::SetLogging), Just(FakeCall::Fetch), Just(FakeCall::Reprotect)];
    let fault = (call.clone(), prop_oneof![3 => 0..2_usize, 1 => 2..20_usize]);
    // Either some calls fail, or all of a kind for a while, so that what failed cannot be undone.
    let all = (call, 1..8_usize).prop_map(|(call, calls)| (0..calls).map(|number| (call, number)).collect());
    let faults = prop_oneof![12 => Just(Vec::new()), 4 => vec(fault, 1..=3), 1 => all];
    (operation(cast), faults).prop_map(|(operation, faults)| Step { operation, faults })
}

/// What turns logging on and off, while that fails now and then: logs are left on, and others go on beside them.
fn flags_while_the_log_fails(cast: &'static [Who]) -> impl Strategy<Value = Vec<Step>> {
    let faults =
        vec(prop_oneof![2 => 0..2_usize, 1 => 2..5_usize].prop_map(|number| (FakeCall::SetLogging, number)), 0..=2);
    vec((flag(cast), faults).prop_map(|(operation, faults)| Step { operation, faults }), 2..8)
}

/// Logging goes on anew, and the first round of some chunks ends, and of others does not.
fn first_round_that_ends_in_parts(cast: &'static [Who]) -> impl Strategy<Value = Vec<Step>> {
    let write = (0..PLACES, written()).prop_map(|(block, pages)| Operation::GuestWrite { block, pages });
    let end = || {
        prop_oneof![
            2 => Just(Operation::DiscardInitialLog { cancel: None }),
            1 => Just(Operation::Sync { cancel: None }),
            1 => select(cast).prop_map(Operation::Clear),
        ]
    };
    let sound = |operation| Step { operation, faults: Vec::new() };
    (select(cast), end(), 1..6_usize, vec(write, 1..4), end()).prop_map(move |(who, part, chunk, writes, rest)| {
        let begin = [Operation::Abandon(who), Operation::Start(who)].map(sound);
        let part = Step { operation: part, faults: vec![(FakeCall::Reprotect, chunk)] };
        let writes = writes.into_iter().map(sound);
        begin.into_iter().chain([part]).chain(writes).chain([sound(rest)]).collect()
    })
}

/// A sync that fails half-way, then bits that are taken and put back, before or after a sync that succeeds.
fn bits_put_back_after_a_sync_that_failed(cast: &'static [Who]) -> impl Strategy<Value = Vec<Step>> {
    let sound = |operation| Step { operation, faults: Vec::new() };
    let writes = || vec((0..PLACES, written()).prop_map(|(block, pages)| Operation::GuestWrite { block, pages }), 1..4);
    let taken = (select(cast), 0..PLACES, 0..3_usize, any::<bool>());
    (taken, writes(), writes()).prop_map(move |((who, block, fault, late), before, since)| {
        let sync = || Operation::Sync { cancel: None };
        let failed = Step { operation: sync(), faults: vec![(FakeCall::Reprotect, fault)] };
        let steps = before.into_iter().map(sound).chain([failed, sound(Operation::TakeBitmap { who, block })]);
        let since = since.into_iter().chain(late.then(sync)).chain([Operation::PutBack, sync()]).map(sound);
        steps.chain(since).collect()
    })
}

fn flag(cast: &'static [Who]) -> impl Strategy<Value = Operation> {
    let who = || select(cast);
    let mask = (0..PLACES, any::<bool>()).prop_map(|(block, on)| Operation::SetLogMask { block, on });
    prop_oneof![
        3 => who().prop_map(Operation::Start),
        3 => who().prop_map(Operation::Stop),
        2 => mask,
        1 => who().prop_map(Operation::Abandon),
    ]
}

fn operation(cast: &'static [Who]) -> impl Strategy<Value = Operation> {
    let who = || select(cast);
    let cancel = || option::weighted(0.1, 0..12_usize);
    let block = || 0..PLACES;
    prop_oneof![
        18 => flag(cast),
        3 => (0..2_usize).prop_map(Operation::OpenAccumulator),
        16 => (block(), written()).prop_map(|(block, pages)| Operation::GuestWrite { block, pages }),
        4 => host_write(),
        3 => (block(), written()).prop_map(|(block, pages)| Operation::HostBitmap { block, pages }),
        7 => cancel().prop_map(|cancel| Operation::Sync { cancel }),
        3 => cancel().prop_map(|cancel| Operation::DiscardInitialLog { cancel }),
        6 => who().prop_map(Operation::Clear),
        6 => (who(), any::<bool>()).prop_map(|(who, take)| Operation::Reap { who, take }),
        2 => Just(Operation::Pause),
        3 => Just(Operation::Resume),
        4 => (who(), cancel()).prop_map(|(who, cancel)| Operation::TakeAt { who, cancel }),
        3 => (who(), block()).prop_map(|(who, block)| Operation::TakeBitmap { who, block }),
        3 => Just(Operation::PutBack),
        4 => add_block(),
        3 => (block(), proptest::bool::weighted(0.2))
            .prop_map(|(block, delete_fails)| Operation::RemoveBlock { block, delete_fails }),
    ]
}

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        8 => (0..PLACE_PAGES, 1..30_u64, 1..80_u64).prop_map(|(first, count, step)| Written::Run { first, count, step }),
        2 => Just(Written::Last),
        1 => Just(Written::All),
    ]
}

fn host_write() -> impl Strategy<Value = Operation> {
    let pages = PLACES as u64 * PLACE_PAGES + 2;
    let bytes = prop_oneof![1 => Just(0), 3 => 1..5000_u64, 3 => 1..pages * super::rig::PAGE_SIZE];
    (0..pages, 0..super::rig::PAGE_SIZE, bytes).prop_map(|(page, offset, bytes)| Operation::HostWrite {
        page,
        offset,
        bytes,
    })
}

fn add_block() -> impl Strategy<Value = Operation> {
    (0..NAMES, 0..PLACES, 0..SIZES.len()).prop_map(|(name, place, size)| Operation::AddBlock { name, place, size })
}
