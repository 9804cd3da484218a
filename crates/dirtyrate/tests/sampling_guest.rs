//! Page sampling of real guests: how often its interval holds the truth, and what it cannot see.

mod support;

use std::time::Duration;

use dirtyrate::Error;
use dirtyrate::dirty_memory::{CancelToken, Client};
use dirtyrate::machine::{Machine, SampleOptions, SampleReport};
use dirtyrate::sampling::{Design, IntervalMethod, Intervals};
use dirtyrate::workload::{Kind, Pacing, Placement, Workload};
use support::*;

/// The guest's memory: few enough pages for a sample to be a large part of them.
const PAGES: u64 = 64 * MIB / PAGE;

fn options(design: Design) -> SampleOptions {
    let intervals = Intervals::new(IntervalMethod::ClopperPearson, 0.95).expect("a confidence");
    SampleOptions { samples_per_gib: 8192, design, seed: None, intervals }
}

fn packed(kind: Kind, pages: u64) -> Workload {
    Workload { placement: Placement::Packed, ..workload(kind, pages, 1, Pacing::Free) }
}

fn sample(machine: &Machine, design: Design, deadlines: &[u64]) -> Vec<SampleReport> {
    let deadlines: Vec<_> = deadlines.iter().copied().map(Duration::from_millis).collect();
    machine.sample_at(&options(design), &deadlines, &CancelToken::new()).expect("it samples")
}

/// The probability of at most `covered` of `trials` if each is covered with `share`.
fn at_most(covered: usize, trials: usize, share: f64) -> f64 {
    let term = |hits: usize| {
        let ways: f64 = (0..hits).map(|k| (trials - k) as f64 / (k + 1) as f64).product();
        ways * share.powi(hits as i32) * (1.0 - share).powi((trials - hits) as i32)
    };
    (0..=covered).map(term).sum()
}

#[test]
fn the_interval_holds_the_truth_as_often_as_it_says() {
    if !kvm() {
        return;
    }
    let trials = if std::env::var_os("DIRTYRATE_TEST_FULL").is_some() { 100 } else { 25 };
    for design in [Design::Stratified, Design::SimpleRandom] {
        for percent in [1, 5, 20, 50] {
            let machine = machine(vec![block("ram", 0, PAGES)], 1);
            run(&machine, &packed(Kind::Stride, PAGES * percent / 100));
            let (mut covered, mut measured) = (0, 0);
            while measured < trials {
                let report = sample(&machine, design, &[60]).remove(0);
                let truth = report.truth.expect("a workload runs");
                if truth.lower != truth.upper {
                    // The guest was taken off its processor and made less than a pass: its truth is not known to the page.
                    continue;
                }
                let interval = report.sampled.dirty(&options(design).intervals).interval;
                let share = truth.written.len() as f64 / PAGES as f64;
                covered += usize::from((interval.low..=interval.high).contains(&share));
                measured += 1;
            }
            // Of eight such tests, one in a hundred thousand runs fails by chance.
            let chance = at_most(covered, trials, 0.95);
            assert!(chance > 1e-6, "{design:?}, {percent} %: {covered} of {trials} intervals hold the truth");
        }
    }
}

#[test]
fn sampling_is_blind_to_silent_writes_which_a_bitmap_sees() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, PAGES)], 1);
    let guest = run(&machine, &packed(Kind::Silent, PAGES / 2));
    // The first pass changes the pages' contents; after it they stay what they are.
    while guest.counters().writes[0] < PAGES / 2 {
        std::thread::yield_now();
    }
    begin(&machine, Client::DirtyRate);
    // An exact mode and sampling at once, each by itself.
    let from = guest.counters().writes[0];
    let report = sample(&machine, Design::Stratified, &[100]).remove(0);
    // A whole pass since the window opened, however little of the processor the guest gets.
    while guest.counters().writes[0] < from + PAGES / 2 + 1 {
        std::thread::yield_now();
    }
    sync(&machine);
    let exact = take(&machine, Client::DirtyRate).len() as u64;
    assert_eq!(exact, PAGES / 2 + 1, "the bitmap sees all of them, and the mailbox page");
    assert!(report.sampled.hits <= 1, "sampling sees the mailbox page, if it looked there: {}", report.sampled.hits);
}

#[test]
fn the_same_samples_serve_several_deadlines() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, PAGES), block("high", 4 * GIB, 515)], 1);
    run(&machine, &packed(Kind::Random, PAGES / 2));
    let reports = sample(&machine, Design::Stratified, &[1, 5, 20, 60]);
    assert!(reports.is_sorted_by_key(|report| report.sampled.hits), "what changed stays changed");
    assert!(reports.is_sorted_by_key(|report| report.sampled.window));
    let new: u64 = reports.iter().map(|report| report.sampled.new_hits).sum();
    assert_eq!(new, reports[3].sampled.hits, "the increments add up");
    for report in &reports {
        assert!(report.sampled.window + report.sampled.window_error >= report.requested, "{:?}", report.sampled.window);
    }
}

#[test]
fn what_cannot_be_sampled_is_refused() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, PAGES)], 1);
    let window = [Duration::from_millis(1)];
    let ask = |samples_per_gib| {
        let options = SampleOptions { samples_per_gib, ..options(Design::Stratified) };
        machine.sample_at(&options, &window, &CancelToken::new())
    };
    assert!(refusal(ask(512)).contains("not started"));
    run(&machine, &packed(Kind::Stride, 100));
    assert!(refusal(ask(127)).contains("128"));
    assert!(refusal(ask(16_385)).contains("16384"));
    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = machine.sample_at(&options(Design::Stratified), &window, &cancel);
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
    machine.pause().expect("paused");
    assert!(matches!(ask(512), Err(Error::Paused(_))));
    machine.resume().expect("resumed");
    ask(512).expect("it samples");
}
