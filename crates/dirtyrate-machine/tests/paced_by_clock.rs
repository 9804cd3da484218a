//! Guests that keep their rate by their own clock run as fast as asked and never faster, and their truth is as exact as
//! for a guest that runs freely.

mod support;

use std::time::{Duration, Instant};

use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::Client;
use dirtyrate_machine::Guest;
use dirtyrate_machine::workload::{Clock, Kind, Pacing, PageSet};
use support::*;

/// A rate that a guest reaches where KVM emulates it, in one vCPU too.
const RATE: u64 = 32 * MIB;

/// What a rate may be off, of the whole.
const TOLERANCE: f64 = 0.02;

/// How often the guest's counters are read, and how far apart. Together this is longer than a vCPU waits for a CPU on a
/// busy host.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// For each vCPU, how many writes it is ahead of its part of the rate since `epoch`, which says nothing by itself: the
/// difference of two such figures is what it made too many. A vCPU is late whenever it waits for a CPU, and never
/// early, so the best of many looks is its own pace.
fn ahead(guest: &Guest, vcpus: u32, epoch: Instant) -> Vec<f64> {
    let per_second = writes_per_second() / f64::from(vcpus);
    let mut best = vec![f64::MIN; vcpus as usize];
    for _ in 0..LOOKS {
        let passed = epoch.elapsed().as_secs_f64();
        for (best, writes) in best.iter_mut().zip(guest.counters().writes) {
            *best = best.max(writes as f64 - per_second * passed);
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    best
}

fn writes_per_second() -> f64 {
    (RATE / page_size()) as f64
}

#[test]
fn the_rate_is_the_one_asked_for() {
    if !kvm() {
        return;
    }
    for (kind, vcpus) in
        [(Kind::Stride, 1), (Kind::Stride, 3), (Kind::Random, 1), (Kind::HotCold, 2), (Kind::Silent, 1)]
    {
        let machine = machine(scattered(), vcpus);
        let guest = run(&machine, &workload(kind, 1500, vcpus, Pacing::Clock(Clock::new(RATE))));
        let epoch = Instant::now();
        let first = ahead(&guest, vcpus, epoch);
        std::thread::sleep(Duration::from_secs(2));
        let last = ahead(&guest, vcpus, epoch);
        let due = writes_per_second() / f64::from(vcpus) * epoch.elapsed().as_secs_f64();
        for (first, last) in first.iter().zip(&last) {
            let off = last - first;
            assert!(off.abs() <= TOLERANCE * due, "{kind} on {vcpus} vCPUs: off by {off} writes of {due}");
        }
    }
}

/// For a guest that is never held, the log contains every page that must be in it, and no page that cannot be.
#[test]
fn the_log_stays_within_the_truth() {
    if !kvm() {
        return;
    }
    for (kind, vcpus) in [(Kind::Stride, 2), (Kind::Random, 1)] {
        let machine = machine(scattered(), vcpus);
        let guest = run(&machine, &workload(kind, 1500, vcpus, Pacing::Clock(Clock::new(RATE))));
        begin(&machine, Client::DirtyRate);
        for round in 0..20 {
            let context = format!("{kind} on {vcpus} vCPUs, round {round}");
            let target = guest.counters().writes[0] + 200;
            while guest.counters().writes[0] < target {
                std::thread::yield_now();
            }
            sync(&machine);
            let measured = pages_of(&machine, Client::DirtyRate);
            let reap = machine.take(Client::DirtyRate).expect("step 5");
            let truth = machine.truth(reap.witness.as_ref()).expect("a workload runs");
            // Drawn pages repeat, but not half of them.
            assert!(truth.written.len() > 100, "{context}: {} pages of over 200 writes", truth.written.len());
            assert_same(&truth.lower.difference(&measured), &PageSet::default(), &format!("{context}: lower"));
            assert_same(&measured.difference(&truth.upper), &PageSet::default(), &format!("{context}: upper"));
        }
        machine.pause().expect("it runs");
        let confirmed = guest.confirm_contents(&CancelToken::new()).expect("the machine is there");
        assert!(confirmed.is_ok(), "{kind}: {confirmed:?}");
    }
}

/// A guest that did not run for a while makes up for a second of it, and then has its own pace again.
#[test]
fn after_a_pause_a_second_is_made_up_for() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 1500, 1, Pacing::Clock(Clock::new(RATE))));
    let epoch = Instant::now();
    let first = ahead(&guest, 1, epoch)[0];
    let pausing = Instant::now();
    machine.pause().expect("it runs");
    std::thread::sleep(Duration::from_secs(3));
    machine.resume().expect("it is paused");
    let paused = pausing.elapsed();
    // Emulated, a guest makes four times its rate at least: by then it has made up for a second.
    std::thread::sleep(Duration::from_secs(1));
    let last = ahead(&guest, 1, epoch)[0];
    let given_up = writes_per_second() * (paused - Duration::from_secs(Clock::LONGEST_MADE_UP)).as_secs_f64();
    let off = last - first + given_up;
    let due = writes_per_second() * epoch.elapsed().as_secs_f64();
    assert!(off.abs() <= TOLERANCE * due, "off by {off} writes of {due}, and {given_up} were to be given up");
}

#[test]
fn a_guest_paced_by_its_own_clock_takes_no_grants() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 1500, 1, Pacing::Clock(Clock::new(RATE))));
    assert!(refusal(guest.grant(1)).contains("paced by its own clock"));
}
