//! Hazards of dirty rings, each of which was seen on this kernel: entries in the wrong window, a guest that stands for
//! ever, losses that are not reported, pages of a removed block.

mod support;

use std::time::{Duration, Instant};

use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::Client;
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate_machine::workload::{Kind, Pacing, PageSet, Placement, Workload};
use support::*;

/// A ring that the reaper, held back, cannot keep from filling.
const SMALL: u32 = 4096;
const LARGE: u32 = 65_536;

fn packed(kind: Kind, pages: u64, pacing: Pacing) -> Workload {
    Workload { placement: Placement::Packed, ..workload(kind, pages, 1, pacing) }
}

#[test]
fn what_is_harvested_during_a_sync_is_of_the_next_window_for_everybody() {
    if !rings() {
        return;
    }
    // A large block, so that handing out its bits takes a while, in which the guest and the reaper go on.
    let blocks = vec![block("low", 0, 8192), block("big", 4 * GIB, 32 * GIB / page_size())];
    let machine = with_rings(blocks, 1, LARGE, Reaping::Run);
    run(&machine, &workload(Kind::Random, 1000, 1, Pacing::Free));
    begin(&machine, Client::DirtyRate);
    for round in 0..700 {
        let mut dirty_memory = machine.vm().lock_dirty_memory();
        dirty_memory.sync(&CancelToken::new()).expect("step 4");
        let dirty_bits = dirty_memory.bits();
        for block in dirty_bits.blocks() {
            let by_vcpu = dirty_bits.vcpu_pages(Client::DirtyRate, 0, &block.name).expect("it exists");
            let bits = dirty_bits.bitmap(Client::DirtyRate, &block.name).expect("it exists").expect("it is tracked");
            let missing = by_vcpu.map_or(0, |pages| pages.iter().filter(|page| !bits.contains(*page)).count());
            assert_eq!(missing, 0, "round {round}: pages in the vCPU's set and in nobody's bitmap");
        }
        drop(dirty_bits);
        dirty_memory.take(Client::DirtyRate).expect("step 5");
    }
}

#[test]
fn a_reaper_that_gets_no_processor_loses_nothing() {
    if !rings() {
        return;
    }
    for vcpus in [1, 2, 4] {
        let machine = with_rings(scattered(), vcpus, LARGE, Reaping::Watermark);
        let guest = run(&machine, &workload(Kind::Stride, 3000 * u64::from(vcpus), vcpus, Pacing::Granted));
        begin(&machine, Client::DirtyRate);
        for round in 0..3 {
            let from = guest.counters();
            // Each write is one entry and its count another: more than two rings of them on each vCPU, with nobody else
            // to harvest.
            make(&machine, &guest, 80_000 + round);
            sync(&machine);
            let truth = guest.truth(&from, &guest.counters()).written;
            let reap = machine.reap(Client::DirtyRate).expect("step 5");
            let context = format!("{vcpus} vCPUs, round {round}");
            assert!(reap.is_complete(), "{context}: {:?}", reap.ring);
            let ring = reap.ring.as_ref().expect("a VM with rings");
            for vcpu in &ring.vcpus {
                // With nested paging a page is one entry until it is protected again.
                assert!(nested_paging() || vcpu.entries > u64::from(2 * LARGE), "{context}: {vcpu:?}");
            }
            assert_same(&take(&machine, Client::DirtyRate), &truth, &context);
        }
    }
}

#[test]
fn a_guest_whose_log_goes_off_with_a_full_ring_goes_on() {
    if !rings() {
        return;
    }
    for reaping in [Reaping::Run, Reaping::Hold] {
        let machine = with_rings(vec![block("ram", 0, 51_200)], 1, SMALL, reaping);
        let guest = run(&machine, &packed(Kind::Stride, 25_600, Pacing::Free));
        for round in 0..60 {
            machine.start_tracking(Client::DirtyRate).expect("step 1");
            std::thread::sleep(Duration::from_micros(500 + 371 * (round % 20)));
            machine.abandon(Client::DirtyRate).expect("its end");
            let before = guest.counters().writes[0];
            // It would stand for ever; how soon it goes on is not what is tested.
            let patience = Instant::now() + Duration::from_secs(60);
            while guest.counters().writes[0] == before {
                assert!(Instant::now() < patience, "{reaping:?}, round {round}: the guest stands");
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn a_loss_is_said_in_its_own_window_and_the_guest_goes_on() {
    if !rings() {
        return;
    }
    let machine = with_rings(vec![block("ram", 0, 51_200)], 1, SMALL, Reaping::Hold);
    let guest = run(&machine, &packed(Kind::Stride, 25_600, Pacing::Granted));
    let mut said = 0;
    // Two entries for each write: windows that end just before a full ring, at one, and just behind.
    for writes in (1500..5000).step_by(37) {
        begin(&machine, Client::DirtyRate);
        for writes in [writes, 50] {
            let from = guest.counters();
            make(&machine, &guest, writes);
            sync(&machine);
            let truth = guest.truth(&from, &guest.counters()).written;
            let measured = pages_of(&machine, Client::DirtyRate);
            let reap = machine.take(Client::DirtyRate).expect("step 5");
            assert!(measured.is_subset(&truth), "{writes} writes");
            assert!(!reap.is_complete() || measured == truth, "{writes} writes: {} of {}", measured.len(), truth.len());
            said += u32::from(!reap.is_complete());
        }
    }
    assert_eq!(
        said > 0,
        !nested_paging(),
        "held back, the reaper comes too late where, and only where, a full ring is passed"
    );
}

#[test]
fn a_migration_that_may_have_missed_something_has_everything_again() {
    if !rings() {
        return;
    }
    let machine = with_rings(vec![block("ram", 0, 51_200)], 1, SMALL, Reaping::Hold);
    let guest = run(&machine, &packed(Kind::Stride, 25_600, Pacing::Granted));
    begin(&machine, Client::Migration);
    begin(&machine, Client::DirtyRate);
    for _ in 0..5 {
        let from = guest.counters();
        make(&machine, &guest, 25_600);
        sync(&machine);
        let truth = guest.truth(&from, &guest.counters()).written;
        assert!(truth.is_subset(&take(&machine, Client::Migration)), "migration must not miss a page");
    }
}

#[test]
fn entries_of_a_block_that_is_gone_are_not_anothers() {
    if !rings() {
        return;
    }
    let blocks = vec![block("low", 0, 8192), block("plug", GIB, 16_384)];
    let machine = with_rings(blocks, 1, LARGE, Reaping::Hold);
    let guest = run(&machine, &workload(Kind::Random, 3000, 1, Pacing::Granted));
    machine.start_tracking(Client::DirtyRate).expect("step 1");
    make(&machine, &guest, 500);
    machine.abandon(Client::DirtyRate).expect("its end");
    machine.vm().remove_block("plug").expect("removed");
    // It gets the number of the slot that was the plug's.
    machine.vm().add_block(&block("other", 8 * GIB, 16_384)).expect("added");
    machine.start_tracking(Client::DirtyRate).expect("step 1");
    sync(&machine);
    let other: PageSet =
        pages_of(&machine, Client::DirtyRate).iter().filter(|frame| *frame >= 8 * GIB / page_size()).collect();
    assert!(other.is_empty(), "{} pages of a block that nobody wrote", other.len());
}

#[test]
fn a_bitmap_that_is_taken_takes_the_vcpus_shares_with_it() {
    if !rings() {
        return;
    }
    let machine = with_rings(vec![block("low", 0, 8192)], 1, LARGE, Reaping::Run);
    let guest = run(&machine, &workload(Kind::Random, 1000, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    make(&machine, &guest, 100);
    sync(&machine);
    let mut dirty_memory = machine.vm().lock_dirty_memory();
    let mut words = vec![0; dirty_memory.bits().block("low").expect("it exists").words()];
    dirty_memory.take_bitmap(Client::DirtyRate, "low", &mut words).expect("taken");
    let reap = dirty_memory.reap(Client::DirtyRate).expect("step 5");
    assert_eq!((reap.pages, reap.ring.expect("rings").vcpus[0].pages), (0, 0));
}
