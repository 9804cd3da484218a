//! While nobody measures a VM with dirty rings, no thread of this crate wakes, and no timer is armed.
//!
//! This test has its process to itself, because it looks at all threads and timers of the process.

mod support;

use std::time::{Duration, Instant};

use dirtyrate::dirty_memory::Client;
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;

/// Long enough for tens of wake-ups of those that there were.
const WHILE: Duration = Duration::from_millis(400);
/// It would be for ever; how soon it happens is not what is tested.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the reaper has gone to sleep.
fn sleeps_of_the_reaper() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("the threads").flatten();
    let is_reaper = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "reaper")
    };
    let reaper = tasks.into_iter().find(is_reaper).expect("a machine with rings has a reaper");
    let status = std::fs::read_to_string(reaper.path().join("status")).expect("its status");
    let line =
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("the kernel counts");
    line.trim().parse().expect("a number")
}

/// How many timers the process has; `None` for a kernel that does not say (CONFIG_CHECKPOINT_RESTORE).
fn timers() -> Option<usize> {
    let timers = std::fs::read_to_string("/proc/self/timers").ok()?;
    Some(timers.lines().filter(|line| line.starts_with("ID:")).count())
}

fn wait_for(what: &str, mut happens: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !happens() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn expect_quiet(context: &str) {
    wait_for("the timers stay armed", || timers().is_none_or(|timers| timers == 0));
    // It may be on its way to sleep.
    std::thread::sleep(WHILE);
    let before = sleeps_of_the_reaper();
    std::thread::sleep(WHILE);
    assert_eq!(sleeps_of_the_reaper() - before, 0, "{context}");
    assert!(timers().is_none_or(|timers| timers == 0), "{context}");
}

#[test]
fn rings_that_nobody_measures_wake_nobody() {
    if !rings() {
        return;
    }
    let machine = with_rings(vec![block("ram", 0, 51_200)], 2, 65_536, Reaping::Run);
    run(&machine, &workload(Kind::Stride, 2000, 2, Pacing::Free));
    expect_quiet("before a measurement");
    for round in 0..2 {
        begin(&machine, Client::DirtyRate);
        let before = sleeps_of_the_reaper();
        wait_for("the reaper sleeps through a measurement", || sleeps_of_the_reaper() > before + 5);
        wait_for("a vCPU has no timer in a measurement", || timers().is_none_or(|timers| timers == 2));
        machine.vm().lock_dirty_memory().stop_tracking(Client::DirtyRate).expect("stopped");
        expect_quiet(&format!("after measurement {round}"));
    }
}
