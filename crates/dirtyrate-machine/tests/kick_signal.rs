//! The signal that kicks vCPUs is one that the host does not use, also if the host only waits for the signal and has no
//! handler.

mod support;

use std::mem::zeroed;

use dirtyrate_machine::vcpu::use_kick_signal;
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;

fn has_handler(signal: i32) -> bool {
    // SAFETY: all zeros is a sigaction; with a null new action the call only writes the current one.
    unsafe {
        let mut action: libc::sigaction = zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &mut action), 0);
        action.sa_sigaction != libc::SIG_DFL
    }
}

/// This is a single test, because a process chooses its signal only once.
#[test]
fn a_signal_that_the_host_waits_for_stays_the_hosts() {
    if !kvm() {
        return;
    }
    let last = libc::SIGRTMAX();
    // SAFETY: a set of one signal that exists, for the calling thread.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, last);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()), 0);
    }
    let machine = machine(vec![block("ram", 0, 8192)], 1);
    run(&machine, &workload(Kind::Stride, 500, 1, Pacing::Free));
    machine.pause().expect("paused");
    assert!(!has_handler(last), "the host waits for it");
    assert!(has_handler(last - 1), "the highest that is free");
    assert!(!has_handler(libc::SIGRTMIN()), "the lowest ones are what hosts use");
    assert!(use_kick_signal(last - 1).is_ok(), "it is in use already");
    assert!(refusal(use_kick_signal(libc::SIGUSR1)).contains("before the first VM"));
    assert!(refusal(use_kick_signal(libc::SIGTERM)).contains("cannot kick"));
}
