//! The reported windows are the real ones: they are compared with instants that the test reads around the calls.

mod support;

use std::time::{Duration, Instant};

use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::Client;
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;

#[test]
fn a_window_is_as_long_as_it_was() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        let machine = protected(scattered(), 1, protect);
        run(&machine, &workload(Kind::Stride, 1000, 1, Pacing::Free));
        machine.start_tracking(Client::DirtyRate).expect("step 1");
        let before_opening = Instant::now();
        machine.discard_initial_log(&CancelToken::new()).expect("step 2");
        machine.clear(Client::DirtyRate).expect("step 3");
        let opened = Instant::now();
        let deadlines = [0, 5, 30, 31].map(Duration::from_millis);
        let reports = machine.sync_at(Client::DirtyRate, &deadlines, &CancelToken::new()).expect("step 4");
        let closed = Instant::now();
        let last = reports.last().expect("four reports");
        for (report, requested) in reports.iter().zip(deadlines) {
            assert_eq!(report.requested, requested);
            // A deadline counts from the opening of the window, and the GET comes after it.
            assert!(report.reap.window >= requested, "{protect:?}: {:?} of {requested:?}", report.reap.window);
            assert!(report.reap.window >= requested + report.late, "{protect:?}: the lateness is part of it");
            // A block's own window is a mean of its chunks': within their span, but for the rounding of a float.
            let windows = || report.reap.blocks.iter().map(|block| block.window);
            let (shortest, longest) = (windows().min().expect("blocks"), windows().max().expect("blocks"));
            let rounding = Duration::from_nanos(2);
            assert!(longest <= report.reap.window + rounding, "{protect:?}: {longest:?}");
            assert!(longest - shortest <= report.reap.skew + rounding, "{protect:?}: {longest:?} - {shortest:?}");
        }
        assert!(reports.is_sorted_by_key(|report| report.reap.window), "bits are kept: the window grows");
        assert!(reports.is_sorted_by_key(|report| report.reap.pages), "and so do the pages");
        assert!(last.reap.window <= closed - before_opening, "{protect:?}: longer than the time that passed");
        assert!(
            last.reap.window + last.sync.elapsed + last.reap_took >= deadlines[3].min(closed - opened),
            "{protect:?}: shorter than from the opening's end to the deadline"
        );
        // The rate is the sum over the blocks of their bytes in their own windows.
        let rate: f64 = last.reap.blocks.iter().map(|block| block.bytes_per_second).sum();
        assert_eq!(last.reap.bytes_per_second, rate);
        let bytes = (last.reap.pages * page_size()) as f64;
        // Every chunk's window is at most the whole, and at least the longest block's less the spread.
        let rounding = f64::EPSILON * 16.0;
        let longest = last.reap.blocks.iter().map(|block| block.window).max().expect("blocks");
        let shortest = longest.saturating_sub(last.reap.skew + Duration::from_nanos(2));
        assert!(rate >= bytes / last.reap.window.as_secs_f64() * (1.0 - rounding), "{protect:?}: {rate}");
        assert!(rate <= bytes / shortest.as_secs_f64() * (1.0 + rounding), "{protect:?}: {rate}");
    }
}

#[test]
fn taking_begins_the_next_window_where_the_last_sync_protected() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    run(&machine, &workload(Kind::Stride, 1000, 1, Pacing::Free));
    machine.start_tracking(Client::DirtyRate).expect("step 1");
    let first = Instant::now();
    machine.discard_initial_log(&CancelToken::new()).expect("step 2");
    machine.clear(Client::DirtyRate).expect("step 3");
    let waited = Duration::from_millis(50);
    machine.sync_at(Client::DirtyRate, &[waited], &CancelToken::new()).expect("step 4");
    let before = Instant::now();
    machine.take(Client::DirtyRate).expect("taken");
    let synced = Instant::now();
    sync(&machine);
    let after = Instant::now();
    let window = machine.reap(Client::DirtyRate).expect("step 5").window;
    // The new window opened in the sync before `before`, which came so long after the first one had opened.
    assert!(window <= after - first - waited, "{window:?}");
    assert!(window >= synced - before, "{window:?}");
    machine.clear(Client::DirtyRate).expect("clear");
    assert_eq!(machine.reap(Client::DirtyRate).expect("step 5").window, Duration::ZERO, "nothing fetched since");
}

#[test]
fn windows_taken_at_deadlines_follow_each_other_without_gap_or_drift() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        let machine = protected(scattered(), 1, protect);
        run(&machine, &workload(Kind::Stride, 1000, 1, Pacing::Free));
        let period = Duration::from_millis(7);
        let before = Instant::now();
        begin(&machine, Client::DirtyRate);
        // Where the window is open, from the opening of the first one.
        let mut opened = Duration::ZERO;
        for round in 1..=20 {
            // A multiple that has passed already is a deadline as well.
            let requested = (period * round).saturating_sub(opened);
            let (report, reopened) =
                machine.take_at(Client::DirtyRate, requested, &CancelToken::new()).expect("the steps 4 and 5");
            assert_eq!(report.requested, requested);
            assert!(report.reap.window >= requested, "{protect:?}: {:?} of {requested:?}", report.reap.window);
            // The sync that closed the window opened the next one: the two share nothing. How long it took from there
            // is known by the clock outside alone: between the reading of the lateness and the sync's own this thread
            // may lose its processor.
            assert!(reopened >= requested + report.late, "{protect:?}: {reopened:?} after {report:?}");
            opened += reopened;
            assert!(opened >= period * round, "{protect:?}: no window closes before its deadline");
            assert!(opened <= before.elapsed(), "{protect:?}: nor opens in the future");
            // Taken: a reap before the next sync has nothing.
            let rest = machine.reap(Client::DirtyRate).expect("step 5");
            assert_eq!((rest.pages, rest.window), (0, Duration::ZERO), "{protect:?}");
        }
    }
}

#[test]
fn chunks_have_windows_of_their_own() {
    if !kvm() {
        return;
    }
    // A block of 64 GiB in chunks of 1 GiB: protecting it the first time takes a while, and each chunk opens at its
    // turn.
    let machine =
        machine(vec![block("low", 0, 32 * MIB / page_size()), block("high", 4 * GIB, 64 * GIB / page_size() + 3)], 1);
    run(&machine, &workload(Kind::Stride, 1000, 1, Pacing::Free));
    let opening = Instant::now();
    begin(&machine, Client::DirtyRate);
    let opened = opening.elapsed();
    let reports =
        machine.sync_at(Client::DirtyRate, &[Duration::from_millis(20)], &CancelToken::new()).expect("step 4");
    let reap = &reports[0].reap;
    assert!(reap.skew > Duration::ZERO, "65 chunks cannot open at one instant");
    assert!(reap.skew <= opened, "and not further apart than the opening took");
}
