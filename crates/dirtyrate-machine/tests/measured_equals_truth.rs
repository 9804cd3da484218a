//! The measured pages are exactly the pages that the guest wrote, on the real KVM.

mod support;

use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::Client;
use dirtyrate_machine::workload::{Kind, Pacing, PageSet, Sharing};
use support::*;

/// Rounds of one configuration; each test has three, one for each state of manual protect.
const ROUNDS: u64 = 100;

/// Rounds of a free-running guest, for each kind, one vCPU and two, and each state of manual protect.
const FREE_ROUNDS: u64 = 40;
/// In an emulated rig, where each first write to a page takes some ten microseconds and there are millions of them.
const FREE_ROUNDS_IN_A_RIG: u64 = 5;

/// Numbers of writes that are no multiple of anything: some fill whole words of the bitmap, some a single bit.
fn writes(round: u64) -> u64 {
    [1, 7, 64, 129, 400][round as usize % 5] + round
}

fn budgeted(kind: Kind, vcpus: u32, sharing: Sharing) {
    for protect in PROTECTS {
        let context = format!("{kind} on {vcpus} vCPUs, {sharing:?}, {protect:?}");
        let machine = protected(scattered(), vcpus, protect);
        let mut what = workload(kind, 2000, vcpus, Pacing::Granted);
        what.sharing = sharing;
        let guest = run(&machine, &what);
        begin(&machine, Client::DirtyRate);
        for round in 0..ROUNDS {
            let from = guest.counters();
            make(&machine, &guest, writes(round));
            sync(&machine);
            let truth = guest.truth(&from, &guest.counters());
            assert_eq!(truth.lower, but_read_only(&machine, &truth.upper), "{context}: a settled guest has one truth");
            assert_same(&take(&machine, Client::DirtyRate), &truth.written, &format!("{context}, round {round}"));
        }
        let confirmed = guest.confirm_contents(&CancelToken::new()).expect("the machine is there");
        assert!(confirmed.is_ok(), "{context}: {confirmed:?}");
    }
}

macro_rules! budgeted {
    ($($name:ident: $kind:expr, $vcpus:expr, $sharing:expr;)*) => {$(
        #[test]
        fn $name() {
            if kvm() {
                budgeted($kind, $vcpus, $sharing);
            }
        }
    )*};
}

budgeted! {
    stride_on_1_vcpu: Kind::Stride, 1, Sharing::Split;
    stride_on_2_vcpus: Kind::Stride, 2, Sharing::Split;
    stride_on_4_vcpus: Kind::Stride, 4, Sharing::Split;
    stride_on_shared_pages: Kind::Stride, 4, Sharing::Shared;
    random_on_1_vcpu: Kind::Random, 1, Sharing::Split;
    random_on_2_vcpus: Kind::Random, 2, Sharing::Split;
    random_on_4_vcpus: Kind::Random, 4, Sharing::Split;
    random_on_shared_pages: Kind::Random, 2, Sharing::Shared;
    hot_cold_on_1_vcpu: Kind::HotCold, 1, Sharing::Split;
    hot_cold_on_2_vcpus: Kind::HotCold, 2, Sharing::Split;
    hot_cold_on_4_vcpus: Kind::HotCold, 4, Sharing::Split;
    hot_cold_on_shared_pages: Kind::HotCold, 4, Sharing::Shared;
    silent_on_1_vcpu: Kind::Silent, 1, Sharing::Split;
    silent_on_2_vcpus: Kind::Silent, 2, Sharing::Split;
    silent_on_4_vcpus: Kind::Silent, 4, Sharing::Split;
    silent_on_shared_pages: Kind::Silent, 2, Sharing::Shared;
}

#[test]
fn an_idle_guest_dirties_nothing() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        let machine = protected(scattered(), 2, protect);
        run(&machine, &workload(Kind::Idle, 2000, 2, Pacing::Free));
        begin(&machine, Client::DirtyRate);
        for _ in 0..ROUNDS {
            sync(&machine);
            assert_eq!(take(&machine, Client::DirtyRate), PageSet::default(), "{protect:?}");
        }
    }
}

/// Measures a guest that is never held. The counters that are read around each ioctl say which pages must be in the
/// log, and which may be.
fn free_running(kind: Kind, vcpus: u32) {
    for protect in PROTECTS {
        let context = format!("{kind} on {vcpus} vCPUs, {protect:?}");
        let machine = protected(scattered(), vcpus, protect);
        // What is uncertain is what is written during an ioctl: more, the faster the guest is beside it.
        let pages = if nested_paging() { (GIB / page_size()).min(60_000) } else { 3000 };
        let guest = run(&machine, &workload(kind, pages, vcpus, Pacing::Free));
        begin(&machine, Client::DirtyRate);
        let mut slack = Vec::new();
        let rounds = if std::env::var_os("DIRTYRATE_RIG").is_some() { FREE_ROUNDS_IN_A_RIG } else { FREE_ROUNDS };
        for round in 0..rounds {
            let context = format!("{context}, round {round}");
            // Wait by the guest's own progress, not by a clock: well over a thousand writes fall into each window.
            let target = guest.counters().writes[0] + pages / 2;
            while guest.counters().writes[0] < target {
                std::thread::yield_now();
            }
            sync(&machine);
            let measured = pages_of(&machine, Client::DirtyRate);
            let reap = machine.take(Client::DirtyRate).expect("step 5");
            let truth = machine.truth(reap.witness.as_ref()).expect("a workload runs");
            assert_same(&truth.lower.difference(&measured), &PageSet::default(), &format!("{context}: lower"));
            assert_same(&measured.difference(&truth.upper), &PageSet::default(), &format!("{context}: upper"));
            assert!(truth.lower.is_subset(&truth.written) && truth.written.is_subset(&truth.upper), "{context}");
            slack.push((truth.upper.len() - truth.lower.len()) as f64 / truth.upper.len() as f64);
        }
        // The two sets must be close, or the test would say little. The median is checked, because in some rounds this
        // thread loses its processor between a counter and an ioctl, and the guest goes on writing meanwhile.
        slack.sort_by(f64::total_cmp);
        let median = slack[slack.len() / 2];
        assert!(median < 0.05, "{context}: in half of the rounds over {median} of the pages are uncertain");
    }
}

#[test]
fn free_running_guests_stay_within_their_bounds() {
    if !kvm() {
        return;
    }
    for kind in WRITING {
        for vcpus in [1, 2] {
            free_running(kind, vcpus);
        }
    }
}

#[test]
fn odd_sizes_are_measured_to_the_last_page() {
    if !kvm() {
        return;
    }
    // The working set is spread over the very end of each block.
    for pages in [1, 2, 63, 64, 65, 127, 1000, GIB / page_size() + 3] {
        let blocks = vec![block("low", 0, 4096), block("odd", 5 * GIB, pages)];
        let machine = machine(blocks, 1);
        let guest = run(&machine, &workload(Kind::Stride, 600, 1, Pacing::Granted));
        begin(&machine, Client::DirtyRate);
        let from = guest.counters();
        make(&machine, &guest, 600);
        sync(&machine);
        let truth = guest.truth(&from, &guest.counters()).written;
        let last = 5 * GIB / page_size() + pages - 1;
        assert!(truth.contains(last), "the last page of {pages} is written");
        assert_same(&take(&machine, Client::DirtyRate), &truth, &format!("a block of {pages} pages"));
    }
}

#[test]
fn a_cancelled_step_loses_nothing() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 2000, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    let from = guest.counters();
    make(&machine, &guest, 1500);
    let cancel = CancelToken::new();
    cancel.cancel();
    assert_eq!(refusal(machine.vm().lock_dirty_memory().sync(&cancel)), "cancelled");
    make(&machine, &guest, 10);
    sync(&machine);
    assert_same(&take(&machine, Client::DirtyRate), &guest.truth(&from, &guest.counters()).written, "after a cancel");
}
