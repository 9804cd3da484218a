//! Page sampling of real guests: how often its interval contains the truth, and which writes it cannot see.

#[path = "../../dirtyrate/tests/sampling_support/mod.rs"]
mod sampling_support;
mod support;

use std::os::unix::fs::FileExt;
use std::time::Duration;

use dirtyrate::dirty_memory::Client;
use dirtyrate::sampling::{Design, IntervalMethod, Intervals};
use dirtyrate::{CancelToken, Error};
use dirtyrate_machine::workload::{Kind, Pacing, Placement, Workload};
use dirtyrate_machine::{Machine, SampleOptions, SampleReport};
use sampling_support::{CONFIDENCE, at_most, covered};
use support::*;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

/// The guest's memory: few enough pages for a sample to be a large part of them.
fn pages() -> u64 {
    64 * MIB / page_size()
}

/// What nobody has to ask for, at 512 samples of these pages.
fn options(design: Design) -> SampleOptions {
    SampleOptions { samples_per_gib: 8192, design, seed: None, intervals: Intervals::default(), cell_bytes: None }
}

fn packed(kind: Kind, pages: u64) -> Workload {
    Workload { placement: Placement::Packed, ..workload(kind, pages, 1, Pacing::Free) }
}

fn sample(machine: &Machine, design: Design, deadlines: &[u64]) -> Vec<SampleReport> {
    let deadlines: Vec<_> = deadlines.iter().copied().map(Duration::from_millis).collect();
    machine.sample_at(&options(design), &deadlines, &CancelToken::new()).expect("it samples")
}

/// The intervals of each method contain the truth in the nominal share of measurements. Wilson's share is sometimes a
/// little lower; then the expected share is the exact sum over all samples. An exact binomial test checks this: over
/// all tests here, the probability of a false alarm is 1 in 1000. The plans have seeds, and the guest writes the same
/// pages in each pass, so a test that passes once passes again.
#[test]
fn the_interval_holds_the_truth_as_often_as_it_says() {
    const FALSE_ALARMS: f64 = 1e-3;
    if !kvm() {
        return;
    }
    let trials = if std::env::var_os("DIRTYRATE_TEST_FULL").is_some() { 100 } else { 25 };
    let methods = [IntervalMethod::Wilson, IntervalMethod::ClopperPearson];
    assert_eq!(Intervals::default().method(), methods[0]);
    let designs = [Design::Stratified, Design::SimpleRandom];
    let percents = [1, 5, 20, 50];
    let tests = (methods.len() * designs.len() * percents.len()) as f64;
    for percent in percents {
        let machine = machine(vec![block("ram", 0, pages())], 1);
        let guest = run(&machine, &packed(Kind::Stride, pages() * percent / 100));
        // Long enough for a pass over all of the guest's pages, whatever else the machine does.
        let mut window = Duration::from_millis(60);
        for design in designs {
            let mut held = [0; 2];
            for trial in 0..trials {
                let options = SampleOptions { seed: Some(trial), ..options(design) };
                let (sampled, truth) = loop {
                    let report =
                        machine.sample_at(&options, &[window], &CancelToken::new()).expect("it samples").remove(0);
                    let truth = report.truth.expect("a workload runs");
                    if truth.lower == truth.upper.difference(guest.read_only()) {
                        break (report.sampled, truth.written.len() as f64 / pages() as f64);
                    }
                    window *= 2;
                };
                for (held, method) in held.iter_mut().zip(methods) {
                    let intervals = Intervals::new(method, CONFIDENCE).expect("a confidence");
                    let interval = sampled.dirty(&intervals).interval;
                    *held += u64::from((interval.low..=interval.high).contains(&truth));
                }
            }
            let share = (pages() * percent / 100 + 1) as f64 / pages() as f64;
            for (held, method) in held.into_iter().zip(methods) {
                let exact = covered(method, 512, share);
                let chance = at_most(held, trials, exact.min(CONFIDENCE));
                println!(
                    "{percent} %, {design:?}, {method:?}: {held} of {trials}; of all samples {exact:.4}; chance of no more: {chance:.3}"
                );
                assert!(chance > FALSE_ALARMS / tests, "{percent} %, {design:?}, {method:?}: {held} of {trials}");
            }
        }
    }
}

#[test]
fn sampling_is_blind_to_silent_writes_which_a_bitmap_sees() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, pages())], 1);
    let guest = run(&machine, &packed(Kind::Silent, pages() / 2));
    // The first pass changes the pages' contents; after it they stay what they are.
    while guest.counters().writes[0] < pages() / 2 {
        std::thread::yield_now();
    }
    begin(&machine, Client::DirtyRate);
    // An exact mode and sampling at once, each by itself.
    let from = guest.counters().writes[0];
    let report = sample(&machine, Design::Stratified, &[100]).remove(0);
    // A whole pass since the window opened, however little of the processor the guest gets.
    while guest.counters().writes[0] < from + pages() / 2 + 1 {
        std::thread::yield_now();
    }
    sync(&machine);
    let exact = take(&machine, Client::DirtyRate).len() as u64;
    assert_eq!(exact, pages() / 2 + 1, "the bitmap sees all of them, and the mailbox page");
    assert!(report.sampled.hits <= 1, "sampling sees the mailbox page, if it looked there: {}", report.sampled.hits);
}

#[test]
fn the_same_samples_serve_several_deadlines() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, pages()), block("high", 4 * GIB, 515)], 1);
    run(&machine, &packed(Kind::Random, pages() / 2));
    let reports = sample(&machine, Design::Stratified, &[1, 5, 20, 60]);
    assert!(reports.is_sorted_by_key(|report| report.sampled.hits), "what changed stays changed");
    assert!(reports.is_sorted_by_key(|report| report.sampled.window));
    let new: u64 = reports.iter().map(|report| report.sampled.new_hits).sum();
    assert_eq!(new, reports[3].sampled.hits, "the increments add up");
    for SampleReport { requested, sampled, .. } in &reports {
        // The first sample's own window is what was asked for, and the others' are no further from it than the longest
        // from the shortest.
        let longest = sampled.window + sampled.skew + sampled.window_error;
        assert!(longest >= *requested, "{:?} and {:?} for {requested:?}", sampled.window, sampled.skew);
    }
}

#[test]
fn what_cannot_be_sampled_is_refused() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, pages())], 1);
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

/// Which pages of the machine's memory exist, by /proc/self/pagemap.
fn touched(machine: &Machine) -> Vec<bool> {
    let pagemap = std::fs::File::open("/proc/self/pagemap").expect("a pagemap");
    let mut all = Vec::new();
    for region in machine.vm().memory().iter() {
        let mut entries = vec![0; (region.len() / page_size()) as usize * 8];
        pagemap.read_exact_at(&mut entries, region.as_ptr().addr() as u64 / page_size() * 8).expect("its entries");
        // Present (bit 63) or swapped (bit 62).
        all.extend(entries.as_chunks::<8>().0.iter().map(|&entry| u64::from_ne_bytes(entry) >> 62 != 0));
    }
    all
}

#[test]
fn looking_at_a_guest_maps_none_of_its_pages() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, GIB / page_size() + 3)], 1);
    run(&machine, &workload(Kind::Idle, 1, 1, Pacing::Free));
    let before = touched(&machine);
    let most = SampleOptions { samples_per_gib: 16_384, ..options(Design::Stratified) };
    let deadlines = [Duration::from_millis(1), Duration::from_millis(2)];
    let report = machine.sample_at(&most, &deadlines, &CancelToken::new()).expect("it samples").remove(1);
    assert!(touched(&machine) == before, "a look has touched a page");
    let untouched = before.iter().filter(|&&touched| !touched).count() as u64;
    assert!(untouched > GIB / page_size() / 2, "an idle guest has touched next to nothing: {untouched}");
    let sampled = report.sampled;
    assert!(sampled.untouched_pages > sampled.samples / 2, "{sampled:?}");
    assert!(sampled.zero_pages >= sampled.untouched_pages, "a page that nobody touched is zero");
}
