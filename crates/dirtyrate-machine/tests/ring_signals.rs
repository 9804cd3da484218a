//! Signals while dirty rings are reset. From Linux 6.16 on a pending signal ends KVM_RESET_DIRTY_RINGS early
//! (`kvm_dirty_ring_reset`). Then the last counted pages are not protected again, and no ring gets later writes to
//! them. This does not show on a kernel that emulates the guest, because such a kernel reports every write, protected
//! or not.
//!
//! This test has its process to itself, because the signals go to all of its threads.

mod support;

use std::os::raw::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dirtyrate::dirty_memory::Client;
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;
use vmm_sys_util::signal::register_signal_handler;

const SIGNAL: c_int = libc::SIGUSR2;
/// More often than a RESET of all that a round writes takes, on any machine.
const PAUSE: Duration = Duration::from_micros(100);
const PAGES: u64 = 6000;
const ROUNDS: u64 = 30;

static ARRIVED: AtomicU64 = AtomicU64::new(0);

extern "C" fn arrived(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    ARRIVED.fetch_add(1, Ordering::Relaxed);
}

/// Sends the signal to every other thread of this process, again and again.
fn disturb(ended: &AtomicBool) {
    // SAFETY: getpid and gettid take nothing and cannot fail.
    let (process, own) = unsafe { (libc::getpid(), libc::gettid()) };
    while !ended.load(Ordering::Acquire) {
        for task in std::fs::read_dir("/proc/self/task").expect("the threads").flatten() {
            let thread: libc::pid_t = task.file_name().to_string_lossy().parse().expect("a number");
            if thread != own {
                // SAFETY: tgkill takes numbers only; a thread that has ended meanwhile is an error that changes
                // nothing.
                unsafe { libc::syscall(libc::SYS_tgkill, process, thread, SIGNAL) };
            }
        }
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn a_signal_loses_no_write() {
    if !rings() {
        return;
    }
    register_signal_handler(SIGNAL, arrived).expect("the signal is free");
    let machine = with_rings(scattered(), 2, 65_536, Reaping::Run);
    let guest = run(&machine, &workload(Kind::Stride, PAGES, 2, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = EndsOnDrop(&ended);
        scope.spawn(|| disturb(&ended));
        for round in 0..ROUNDS {
            let from = guest.counters();
            // Every page of each vCPU's half: one that is not protected is missing.
            make(&machine, &guest, PAGES / 2);
            sync(&machine);
            let truth = guest.truth(&from, &guest.counters());
            let reap = machine.reap(Client::DirtyRate).expect("step 5");
            assert!(reap.is_complete(), "round {round}: {:?}", reap.ring);
            assert_same(&take(&machine, Client::DirtyRate), &truth.written, &format!("round {round}"));
        }
    });
    assert!(ARRIVED.load(Ordering::Relaxed) > ROUNDS, "the signals came");
}
