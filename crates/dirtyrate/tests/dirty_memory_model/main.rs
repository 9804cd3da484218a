//! Compares dirty memory with a naive model, over random sequences of all operations, with several clients and blocks,
//! in all three states of manual protect. After every operation everything that can be seen is compared.
//!
//! `cargo test` does 100,000 operations, always the same.
//! `DIRTYRATE_TEST_FULL=1 cargo test --release -p dirtyrate --test dirty_memory_model -- --nocapture` does a million
//! more. A failure prints a seed, for `DIRTYRATE_TEST_SEED`, and the shortest sequence of operations found that still
//! fails, which can be pasted into a test as it is.

mod block;
mod compare;
mod faulty_log;
mod model;
mod operations;
mod pages;
mod rig;
mod windows;

use std::cell::{Cell, RefCell};
use std::env;

use dirtyrate::dirty_memory::FakeProtect;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use model::Refusal;
use rig::Tally;

/// Scenarios between two looks at the number of operations.
const BATCH: u32 = 50;

/// Runs at least `operations` random operations, and says how many.
fn run(protect: FakeProtect, operations: u64, seed: u64) -> (u64, Tally) {
    let (done, tally) = (Cell::new(0), RefCell::new(Tally::new()));
    let first =
        env::var("DIRTYRATE_TEST_SEED").map_or(seed, |seed| seed.parse().expect("DIRTYRATE_TEST_SEED: a number"));
    for seed in first.. {
        if done.get() >= operations {
            break;
        }
        let config = Config { cases: BATCH, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
        // XorShift: in a debug build proptest's ChaCha takes more time than all the rest.
        let bytes = (u128::from(seed) << 64 | 0x9e37_79b9_7f4a_7c15).to_le_bytes();
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::XorShift, &bytes));
        let outcome = runner.run(&operations::scenario(protect), |scenario| {
            done.set(done.get() + rig::check(&scenario, &mut tally.borrow_mut())?);
            Ok::<(), TestCaseError>(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, scenario)) => {
                let scenario = format!("{scenario:?}").replace(": [", ": vec![");
                panic!("{why}\n{scenario}\nDIRTYRATE_TEST_SEED={seed}")
            }
            Err(TestError::Abort(why)) => panic!("{why}; DIRTYRATE_TEST_SEED={seed}"),
        }
    }
    (done.get(), tally.into_inner())
}

/// Each operation must have had each of its outcomes, or the sequences are not what they are meant to be.
fn assert_varied(protect: FakeProtect, tally: &Tally) {
    let log = Some(Refusal::Log);
    let mut expected = vec![
        ("start", log),
        ("stop", log),
        ("set log mask on", log),
        ("set log mask off", log),
        ("abandon", log),
        ("sync", log),
        ("sync", Some(Refusal::Cancelled)),
        ("discard", log),
        ("discard", Some(Refusal::Cancelled)),
        ("add block", log),
        ("add block", Some(Refusal::Layout)),
        ("remove block", log),
        ("remove block", Some(Refusal::Delete)),
        ("take a bitmap", None),
        ("put back", None),
        ("take at a deadline", None),
        ("take at a deadline", log),
        ("take at a deadline", Some(Refusal::Cancelled)),
        ("take at a deadline", Some(Refusal::Paused)),
        ("take at a deadline", Some(Refusal::State)),
    ];
    if protect == FakeProtect::ManualInitiallySet {
        for name in ["clear, which ends a first round", "reap and take, which ends a first round"] {
            expected.extend([(name, None), (name, log)]);
        }
    }
    for outcome in expected {
        assert!(tally.contains_key(&outcome), "{protect:?}: never {outcome:?}, of {tally:?}");
    }
}

const DEFAULT_OPERATIONS: u64 = 40_000;

fn default_run(protect: FakeProtect) {
    let (done, tally) = run(protect, DEFAULT_OPERATIONS, 0);
    println!("{protect:?}: {done} operations");
    assert_varied(protect, &tally);
}

#[test]
fn equals_the_model_where_a_fetch_protects() {
    default_run(FakeProtect::Automatic);
}

#[test]
fn equals_the_model_with_manual_protect() {
    default_run(FakeProtect::Manual);
}

#[test]
fn equals_the_model_where_a_log_begins_all_ones() {
    default_run(FakeProtect::ManualInitiallySet);
}

/// As a failure prints it. DIRTY_RATE starts and does not discard the first round; MIGRATION, which has every bit, ends
/// that round when it takes them. What was written in it goes to nobody, as with a discard.
#[test]
fn a_first_round_that_migration_ends_goes_to_nobody() {
    use operations::{Operation::*, Scenario, Step, Who::*, Written::*};
    #[rustfmt::skip]
    let scenario = Scenario { protect: FakeProtect::ManualInitiallySet, chunk: 0, steps: vec![
        Step { operation: AddBlock { name: 0, place: 0, size: 8 }, faults: vec![] },
        Step { operation: Start(DirtyRate), faults: vec![] },
        Step { operation: Start(Migration), faults: vec![] },
        Step { operation: GuestWrite { block: 0, pages: Last }, faults: vec![] },
        Step { operation: Clear(Migration), faults: vec![] },
        Step { operation: GuestWrite { block: 0, pages: Run { first: 1, count: 2, step: 64 } }, faults: vec![] },
        Step { operation: Sync { cancel: None }, faults: vec![] },
        Step { operation: Reap { who: DirtyRate, take: true }, faults: vec![] },
    ] };
    assert_eq!(rig::check(&scenario, &mut Tally::new()).expect("equal to the model"), 8);
}

#[test]
fn equals_the_model_for_a_million_operations() {
    if env::var_os("DIRTYRATE_TEST_FULL").is_none() {
        println!("skipped: set DIRTYRATE_TEST_FULL=1");
        return;
    }
    let mut total = 0;
    for (protect, share) in
        [(FakeProtect::Automatic, 200_000), (FakeProtect::Manual, 300_000), (FakeProtect::ManualInitiallySet, 500_000)]
    {
        let (done, tally) = run(protect, share, 1_000_000);
        println!("{protect:?}: {done} operations");
        tally.iter().for_each(|((name, refusal), count)| println!("  {count:8} {name} {refusal:?}"));
        assert_varied(protect, &tally);
        total += done;
    }
    println!("{total} operations");
    assert!(total >= 1_000_000);
}
