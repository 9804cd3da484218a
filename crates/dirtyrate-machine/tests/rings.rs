//! Compares dirty rings with the truth on the real KVM. On an emulating KVM every write is an entry, and a ring can
//! overrun.

mod support;

use std::time::Duration;

use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::Client;
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate_machine::workload::{Counters, Kind, Pacing, PageSet, Sharing};
use dirtyrate_machine::{Guest, Machine};
use support::*;

/// The largest ring that this kernel has: 65,536 entries.
const ENTRIES: u32 = 65_536;
const ROUNDS: u64 = 100;

/// The pages that one vCPU wrote: the truth of a guest in which no other did.
fn truth_of(guest: &Guest, vcpu: usize, from: &Counters, to: &Counters) -> PageSet {
    let mut alone = from.clone();
    (alone.writes[vcpu], alone.budgets[vcpu]) = (to.writes[vcpu], to.budgets[vcpu]);
    guest.truth(from, &alone).written
}

fn measured_of(machine: &Machine, client: Client, vcpu: usize) -> PageSet {
    let dirty_bits = machine.vm().lock_dirty_bits();
    let mut frames = Vec::new();
    for block in dirty_bits.blocks() {
        if let Some(pages) = dirty_bits.vcpu_pages(client, vcpu, &block.name).expect("it exists") {
            frames.extend(pages.iter().map(|page| block.guest_address / page_size() + page));
        }
    }
    frames.into()
}

fn budgeted(kind: Kind, vcpus: u32, sharing: Sharing) {
    let machine = with_rings(scattered(), vcpus, ENTRIES, Reaping::Run);
    let mut what = workload(kind, 2000, vcpus, Pacing::Granted);
    what.sharing = sharing;
    let guest = run(&machine, &what);
    begin(&machine, Client::DirtyRate);
    for round in 0..ROUNDS {
        let context = format!("{kind} on {vcpus} vCPUs, {sharing:?}, round {round}");
        let from = guest.counters();
        make(&machine, &guest, [1, 7, 64, 129, 400][round as usize % 5] + round);
        sync(&machine);
        let to = guest.counters();
        let truth = guest.truth(&from, &to);
        assert_eq!(truth.lower, but_read_only(&machine, &truth.upper), "{context}");
        let reap = machine.reap(Client::DirtyRate).expect("step 5");
        let ring = reap.ring.as_ref().expect("a VM with rings");
        assert!(reap.is_complete() && ring.lost == 0, "{context}: {ring:?}");
        let mut sets = Vec::new();
        for (vcpu, told) in ring.vcpus.iter().enumerate() {
            let measured = measured_of(&machine, Client::DirtyRate, vcpu);
            let mut expected = truth_of(&guest, vcpu, &from, &to);
            // The grant is the host's, in no ring.
            expected = expected.difference(&[guest.program().control_page() / page_size()].into_iter().collect());
            let written = measured.difference(guest.read_only());
            if nested_paging() && sharing == Sharing::Shared {
                // The vCPU that first writes a protected page has the entry, because the page is writable for the other
                // vCPUs then.
                assert!(written.is_subset(&expected), "{context}, vCPU {vcpu}");
            } else {
                assert_same(&written, &expected, &format!("{context}, vCPU {vcpu}"));
            }
            assert_eq!(told.pages, measured.len() as u64, "{context}");
            assert_eq!(told.entries, told.pages + told.duplicates, "{context}: the entries add up");
            sets.push(measured);
        }
        let several = |page: &u64| sets.iter().filter(|set| set.contains(*page)).count() > 1;
        let union = sets.iter().fold(PageSet::default(), |union, set| union.union(set));
        assert_eq!(ring.shared_pages, union.iter().filter(several).count() as u64, "{context}");
        assert_same(&take(&machine, Client::DirtyRate), &truth.written, &context);
    }
}

#[test]
fn every_vcpus_pages_are_those_that_it_wrote() {
    if !rings() {
        return;
    }
    for kind in WRITING {
        for (vcpus, sharing) in
            [(1, Sharing::Split), (2, Sharing::Split), (2, Sharing::Shared), (4, Sharing::Split), (4, Sharing::Shared)]
        {
            budgeted(kind, vcpus, sharing);
        }
    }
}

#[test]
fn free_running_guests_stay_within_their_bounds_and_lose_nothing() {
    if !rings() {
        return;
    }
    for kind in WRITING {
        for vcpus in [1, 2] {
            let context = format!("{kind} on {vcpus} vCPUs");
            let machine = with_rings(scattered(), vcpus, ENTRIES, Reaping::Run);
            let guest = run(&machine, &workload(kind, 3000, vcpus, Pacing::Free));
            begin(&machine, Client::DirtyRate);
            for round in 0..40 {
                let target = guest.counters().writes[0] + 1500;
                while guest.counters().writes[0] < target {
                    std::thread::yield_now();
                }
                sync(&machine);
                let measured = pages_of(&machine, Client::DirtyRate);
                let reap = machine.take(Client::DirtyRate).expect("step 5");
                let truth = machine.truth(reap.witness.as_ref()).expect("a workload runs");
                assert!(reap.is_complete(), "{context}, round {round}: {:?}", reap.ring);
                assert!(truth.lower.is_subset(&measured), "{context}, round {round}: lower");
                assert!(measured.is_subset(&truth.upper), "{context}, round {round}: upper");
            }
        }
    }
}

#[test]
fn an_overrun_is_said_and_the_next_measurement_is_right() {
    if !rings() {
        return;
    }
    let machine = with_rings(vec![block("ram", 0, 51_200)], 1, 4096, Reaping::Hold);
    let mut what = workload(Kind::Stride, 25_600, 1, Pacing::Granted);
    what.placement = dirtyrate_machine::workload::Placement::Packed;
    let guest = run(&machine, &what);
    let mut overruns = 0;
    for round in 0..5 {
        begin(&machine, Client::DirtyRate);
        let from = guest.counters();
        make(&machine, &guest, 25_600);
        sync(&machine);
        let truth = guest.truth(&from, &guest.counters()).written;
        let measured = pages_of(&machine, Client::DirtyRate);
        let reap = machine.take(Client::DirtyRate).expect("step 5");
        // The result is a lower bound, and says so whenever a page is missing.
        assert!(measured.is_subset(&truth), "round {round}");
        assert!(!reap.is_complete() || measured == truth, "round {round}: {} of {}", measured.len(), truth.len());
        overruns += u32::from(!reap.is_complete());
        // The machine goes on, and a window in which the ring does not fill is exact.
        for writes in [1, 100, 1000] {
            let from = guest.counters();
            make(&machine, &guest, writes);
            sync(&machine);
            let truth = guest.truth(&from, &guest.counters()).written;
            let reap = machine.reap(Client::DirtyRate).expect("step 5");
            assert!(reap.is_complete(), "round {round}, after {writes}: {:?}", reap.ring);
            assert_same(
                &take(&machine, Client::DirtyRate),
                &truth,
                &format!("round {round}, {writes} writes after an overrun"),
            );
        }
    }
    assert_eq!(overruns > 0, !nested_paging(), "held back, the reaper comes too late where a full ring is passed");
}

#[test]
fn windows_of_rings_have_no_gap() {
    if !rings() {
        return;
    }
    let machine = with_rings(scattered(), 2, ENTRIES, Reaping::Run);
    let guest = run(&machine, &workload(Kind::Random, 3000, 2, Pacing::Granted));
    let (mut all, mut last) = (PageSet::default(), guest.counters());
    let first = last.clone();
    begin(&machine, Client::DirtyRate);
    // A migration at its own pace, started inside of a window, is told of everything as well.
    for round in 0..60 {
        guest.grant(150).expect("a granted guest");
        if round == 5 {
            machine.settled(&CancelToken::new()).expect("it runs");
            sync(&machine);
            all = all.union(&take(&machine, Client::DirtyRate));
            machine.start_tracking(Client::Migration).expect("start");
            take(&machine, Client::Migration);
            last = guest.counters();
        }
        let deadline = [Duration::from_millis(round % 4)];
        machine.sync_at(Client::DirtyRate, &deadline, &CancelToken::new()).expect("step 4");
        all = all.union(&take(&machine, Client::DirtyRate));
    }
    machine.settled(&CancelToken::new()).expect("it runs");
    sync(&machine);
    all = all.union(&take(&machine, Client::DirtyRate));
    let now = guest.counters();
    assert_same(&all, &guest.truth(&first, &now).written, "the union of all windows");
    assert_same(&take(&machine, Client::Migration), &guest.truth(&last, &now).written, "migration");
}

#[test]
fn blocks_with_rings_come_and_go() {
    if !rings() {
        return;
    }
    let plug = block("plug", 4 * GIB, 200 * 64 + 3);
    let blocks = vec![block("low", 0, 8192 + 3), plug.clone(), block("high", 8 * GIB, 515)];
    let machine = with_rings(blocks, 2, ENTRIES, Reaping::Run);
    let guest = run(&machine, &workload(Kind::Random, 3000, 2, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    for round in 0..30 {
        let from = guest.counters();
        make(&machine, &guest, 100);
        if round % 2 == 0 {
            sync(&machine);
        }
        machine.vm().remove_block("plug").expect("removed");
        sync(&machine);
        let truth = guest.truth(&from, &guest.counters()).written;
        let reap = machine.take(Client::DirtyRate).expect("step 5");
        let walked = guest.read_only().len() as u64;
        let expected = truth.len() as u64..=truth.len() as u64 + walked;
        assert!(
            expected.contains(&reap.pages),
            "round {round}: the plug's pages are among {}: {expected:?}",
            reap.pages
        );
        machine.vm().add_block(&plug).expect("added");
    }
}

#[test]
fn rings_that_no_kernel_takes_are_refused() {
    if !rings() {
        return;
    }
    for entries in [0, 1, 512, 1000, 4095, 131_072, 1 << 31] {
        let mut options = options(scattered(), 1);
        options.vm.log = dirtyrate_machine::vm::LogKind::Ring { entries, reaping: Reaping::Run };
        let text = refusal(Machine::new(&options, &CancelToken::new()).map(drop));
        assert!(text.contains(&format!("a dirty ring of {entries} entries")), "{text}");
    }
}
