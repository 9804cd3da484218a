//! A migration loses no page to measurements beside it, and gets no page that was not written.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::Client;
use dirtyrate_machine::Machine;
use dirtyrate_machine::workload::{Kind, Pacing, PageSet};
use support::*;

/// A measurement of no particular length: the five steps, then the flag is taken away.
fn measure(machine: &Machine, window: Duration) {
    begin(machine, Client::DirtyRate);
    machine.sync_at(Client::DirtyRate, &[window], &CancelToken::new()).expect("step 4");
    machine.take(Client::DirtyRate).expect("step 5");
    machine.vm().lock_dirty_memory().stop_tracking(Client::DirtyRate).expect("stop");
}

fn stop_migrating(machine: &Machine) -> PageSet {
    machine.vm().lock_dirty_memory().stop_tracking(Client::Migration).expect("stop");
    take(machine, Client::Migration)
}

/// Everything that the guest writes while MIGRATION tracks, and nothing else, is what MIGRATION reaps.
fn beside(protect: dirtyrate::kvm::ManualProtect, start_first: bool) {
    let machine = protected(scattered(), 2, protect);
    let guest = run(&machine, &workload(Kind::Random, 3000, 2, Pacing::Granted));
    if !start_first {
        measure(&machine, Duration::from_millis(1));
        begin(&machine, Client::DirtyRate);
    }
    machine.start_tracking(Client::Migration).expect("start");
    let everything: u64 = machine.vm().blocks().iter().map(|block| block.pages).sum();
    let all = take_from(&mut machine.vm().lock_dirty_memory(), Client::Migration);
    assert_eq!(all.len() as u64, everything, "migration begins with every page");
    let from = guest.counters();
    let measured = AtomicBool::new(false);
    let reaped = std::thread::scope(|scope| {
        // The measurements go on at their pace, migration syncs and takes at its own, the guest writes at a third.
        scope.spawn(|| {
            for round in 0..100 {
                measure(&machine, Duration::from_millis(round % 3));
            }
            measured.store(true, Ordering::Release);
        });
        let mut reaped = PageSet::default();
        while !measured.load(Ordering::Acquire) {
            make(&machine, &guest, 20);
            sync(&machine);
            reaped = reaped.union(&take(&machine, Client::Migration));
            make(&machine, &guest, 3);
        }
        reaped.union(&stop_migrating(&machine))
    });
    let truth = guest.truth(&from, &guest.counters()).written;
    assert_same(&reaped, &truth, &format!("{protect:?}, migration first: {start_first}"));
}

#[test]
fn measurements_take_no_bit_from_migration_and_add_none() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        for start_first in [true, false] {
            beside(protect, start_first);
        }
    }
}

#[test]
fn a_measurement_that_starts_before_migration_took_its_bits_discards_none_of_its_writes() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 2000, 1, Pacing::Granted));
    // MIGRATION turns the log on; its first round is still open when the measurement discards it.
    machine.start_tracking(Client::Migration).expect("start");
    make(&machine, &guest, 100);
    let taken = take_from(&mut machine.vm().lock_dirty_memory(), Client::Migration);
    let from = guest.counters();
    make(&machine, &guest, 100);
    begin(&machine, Client::DirtyRate);
    make(&machine, &guest, 100);
    sync(&machine);
    let everything: u64 = machine.vm().blocks().iter().map(|block| block.pages).sum();
    assert_eq!(taken.len() as u64, everything);
    let truth = guest.truth(&from, &guest.counters()).written;
    assert_same(&take(&machine, Client::Migration), &truth, "writes since migration took its first bits");
}

#[test]
fn accumulators_each_get_their_own_right_answer() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    let guest = run(&machine, &workload(Kind::Random, 2000, 1, Pacing::Granted));
    let mut open = Vec::new();
    for round in 0..10 {
        let client = machine.vm().lock_dirty_bits().open_accumulator();
        begin(&machine, client);
        open.push((client, guest.counters()));
        make(&machine, &guest, 50 + round);
        if round % 2 == 0 {
            sync(&machine);
        }
    }
    sync(&machine);
    let now = guest.counters();
    for (client, from) in open {
        assert_same(&pages_of(&machine, client), &guest.truth(&from, &now).written, &client.to_string());
        machine.vm().lock_dirty_memory().abandon(client).expect("its end");
    }
    assert_eq!(machine.vm().lock_dirty_bits().logging_blocks().count(), 0, "the last one turned logging off");
}

#[test]
fn a_client_that_stops_beside_a_window_moves_the_truth_with_the_bits() {
    if !kvm() {
        return;
    }
    for stop_inside in [false, true] {
        let machine = machine(scattered(), 1);
        let guest = run(&machine, &workload(Kind::Random, 2000, 1, Pacing::Granted));
        begin(&machine, Client::Migration);
        machine.start_tracking(Client::DirtyRate).expect("step 1");
        machine.discard_initial_log(&CancelToken::new()).expect("step 2");
        make(&machine, &guest, 100);
        let stop = || machine.vm().lock_dirty_memory().stop_tracking(Client::Migration).expect("stop");
        if !stop_inside {
            stop();
        }
        machine.clear(Client::DirtyRate).expect("step 3");
        make(&machine, &guest, 30);
        sync(&machine);
        make(&machine, &guest, 20);
        if stop_inside {
            stop();
        }
        let measured = pages_of(&machine, Client::DirtyRate);
        let reap = machine.reap(Client::DirtyRate).expect("step 5");
        let truth = machine.truth(reap.witness.as_ref()).expect("a workload runs");
        assert!(truth.lower.is_subset(&measured), "lower, stop inside: {stop_inside}");
        assert!(measured.is_subset(&truth.upper), "upper, stop inside: {stop_inside}");
    }
}
