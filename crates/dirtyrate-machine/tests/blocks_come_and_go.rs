//! RAM blocks that are added and removed while the VM runs and is being measured.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dirtyrate::CancelToken;
use dirtyrate::bitmap::{Ranges, words_for};
use dirtyrate::dirty_memory::Client;
use dirtyrate::kvm::{ManualProtect, Slots, vm_fd};
use dirtyrate_machine::vm::{BlockSpec, LogKind};
use dirtyrate_machine::workload::{Kind, Pacing, PageSet};
use dirtyrate_machine::{Machine, UnknownMmio};
use support::*;
use vm_memory::{GuestAddress, GuestRegionMmap, MmapRegion};

fn plug() -> BlockSpec {
    block("plug", 4 * GIB, 200 * 64 + 3)
}

fn with_plug() -> Vec<BlockSpec> {
    vec![block("low", 0, 8192 + 3), plug(), block("high", 8 * GIB, 515)]
}

/// Takes the client's pages, those of a plug that is gone included.
fn take_all(machine: &Machine, client: Client) -> PageSet {
    let mut dirty_memory = machine.vm().lock_dirty_memory();
    let gone = {
        let bits = dirty_memory.bits();
        let exists = bits.blocks().any(|block| block.name == "plug");
        match (exists, bits.block("plug")) {
            (false, Ok(plug)) => {
                bits.bitmap(client, "plug").expect("it is known").map(|bits| frames_of(plug, bits).collect::<PageSet>())
            }
            _ => None,
        }
    };
    let pages = gone.unwrap_or_default().union(&take_from(&mut dirty_memory, client));
    but_read_only(machine, &pages)
}

fn beside_measurements(protect: ManualProtect) {
    let machine = protected(with_plug(), 2, protect);
    let guest = run(&machine, &workload(Kind::Random, 3000, 2, Pacing::Granted));
    machine.start_tracking(Client::Migration).expect("start");
    take(&machine, Client::Migration);
    let from = guest.counters();
    let ended = AtomicBool::new(false);
    let measured = AtomicU64::new(0);
    let reaped = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                begin(&machine, Client::DirtyRate);
                let window = Duration::from_millis(measured.load(Ordering::Relaxed) % 3);
                machine.sync_at(Client::DirtyRate, &[window], &CancelToken::new()).expect("step 4");
                machine.take(Client::DirtyRate).expect("step 5");
                machine.vm().lock_dirty_memory().stop_tracking(Client::DirtyRate).expect("stop");
                measured.fetch_add(1, Ordering::Relaxed);
            }
        });
        let end = EndsOnDrop(&ended);
        let mut reaped = PageSet::default();
        for round in 0.. {
            if round >= 60 && measured.load(Ordering::Relaxed) >= 100 {
                break;
            }
            make(&machine, &guest, 40);
            if round % 3 == 0 {
                sync(&machine);
            }
            // What was written and not fetched must survive the removal.
            machine.vm().remove_block("plug").expect("removed");
            if round % 2 == 0 {
                reaped = reaped.union(&take_all(&machine, Client::Migration));
                machine.vm().add_block(&plug()).expect("added");
            } else {
                let gone = take_all(&machine, Client::Migration);
                reaped = reaped.union(&gone);
                machine.vm().add_block(&plug()).expect("added");
                // The other half of the rounds lets migration sync with a plug that is new, before it takes its pages.
                sync(&machine);
            }
            // New RAM has to be migrated whole: take those pages away, they are not writes.
            let fresh = take(&machine, Client::Migration);
            let first = plug().guest_address / page_size();
            let whole: PageSet = (first..first + 200 * 64 + 3).collect();
            assert!(whole.is_subset(&fresh), "migration has every page of a new block");
            reaped = reaped.union(&fresh.difference(&whole));
        }
        make(&machine, &guest, 40);
        sync(&machine);
        drop(end);
        reaped.union(&take_all(&machine, Client::Migration))
    });
    let truth = guest.truth(&from, &guest.counters()).written;
    assert_same(&reaped, &truth, &format!("{protect:?}"));
}

#[test]
fn migration_loses_nothing_while_blocks_come_and_go_under_measurements() {
    if kvm() {
        PROTECTS.into_iter().for_each(beside_measurements);
    }
}

#[test]
fn a_new_block_is_measured_from_its_first_write() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        // The guest never stands still: while the plug is away its writes there go nowhere.
        let mut options = options(with_plug(), 2);
        options.unknown_mmio = UnknownMmio::Ignore;
        options.vm.log = LogKind::Bitmap(Some(protect));
        let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
        let guest = run(&machine, &workload(Kind::Stride, 300, 2, Pacing::Free));
        begin(&machine, Client::DirtyRate);
        for _ in 0..20 {
            machine.vm().remove_block("plug").expect("removed");
            machine.clear(Client::DirtyRate).expect("clear");
            machine.vm().add_block(&plug()).expect("added");
            // A pass and more, however fast the guest is.
            let target = guest.counters().writes[1] + 200;
            while guest.counters().writes[1] < target {
                std::thread::yield_now();
            }
            machine.pause().expect("paused");
            sync(&machine);
            let first = plug().guest_address / page_size();
            let is_written = |page: &u64| {
                let mut word = [0; 8];
                machine.vm().read_memory(page * page_size(), &mut word).expect("RAM");
                word != [0; 8]
            };
            // New memory is zero, and this guest writes no zero: the contents are the truth.
            let written: PageSet = (first..first + 200 * 64 + 3).filter(is_written).collect();
            let dirty_bits = machine.vm().lock_dirty_bits();
            let bits = dirty_bits.bitmap(Client::DirtyRate, "plug").expect("it exists").expect("it is tracked");
            let measured: PageSet = frames_of(dirty_bits.block("plug").expect("it exists"), bits).collect();
            drop(dirty_bits);
            assert!(!written.is_empty());
            // With nested paging a page is logged just before its write, in between which a vCPU can be paused.
            let begun = if nested_paging() { machine.vm().vcpus().expect("it has vCPUs").count() } else { 0 };
            assert_same(&written.difference(&measured), &PageSet::default(), &format!("{protect:?}: missing"));
            let extra = measured.difference(&written);
            assert!(extra.len() <= begun, "{protect:?}: {} pages of zeros", extra.len());
            machine.resume().expect("resumed");
        }
    }
}

#[test]
fn a_removed_block_is_in_the_result_until_it_is_taken() {
    if !kvm() {
        return;
    }
    let machine = machine(with_plug(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 300, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    make(&machine, &guest, 300);
    let written = guest.truth(&guest.counters(), &guest.counters());
    assert!(written.written.is_empty(), "nothing between one instant and itself");
    machine.vm().remove_block("plug").expect("removed");
    machine.vm().add_block(&plug()).expect("added");
    sync(&machine);
    for _ in 0..2 {
        let reap = machine.reap(Client::DirtyRate).expect("step 5");
        let plugs: Vec<_> = reap.blocks.iter().filter(|reap| reap.block.name == "plug").collect();
        assert_eq!(plugs.len(), 2, "the new plug and the one that is gone");
        assert_eq!(plugs.iter().filter(|plug| plug.removed && plug.pages > 0).count(), 1);
        assert_ne!(plugs[0].block.id, plugs[1].block.id, "they are of different generations");
        assert!(plugs.iter().all(|plug| plug.removed || plug.pages == 0));
    }
    machine.take(Client::DirtyRate).expect("taken");
    let reap = machine.reap(Client::DirtyRate).expect("step 5");
    assert!(reap.blocks.iter().all(|block| !block.removed), "what was taken is gone");
}

#[test]
fn bad_blocks_are_refused_and_the_machine_goes_on() {
    if !kvm() {
        return;
    }
    let machine = machine(with_plug(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 300, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    let bad = [
        (block("plug", 10 * GIB, 1), "two blocks of this name"),
        (block("new", 4 * GIB, 1), "overlaps block 'plug'"),
        (block("new", 10 * GIB, 0), "0 bytes"),
        (
            BlockSpec { name: "new".to_owned(), guest_address: 10 * GIB + 1, bytes: page_size() },
            "multiple of the page size",
        ),
        (BlockSpec { name: "new".to_owned(), guest_address: 10 * GIB, bytes: 1 << 60 }, "ends above"),
    ];
    for (spec, expected) in bad {
        let text = refusal(machine.vm().add_block(&spec));
        assert!(text.contains(expected) && text.contains(&format!("'{}'", spec.name)), "{text}");
    }
    let text = refusal(machine.vm().remove_block("nothing"));
    assert!(text.contains("no RAM block 'nothing': there is low, plug, high"), "{text}");
    let from = guest.counters();
    make(&machine, &guest, 100);
    sync(&machine);
    assert_same(&take(&machine, Client::DirtyRate), &guest.truth(&from, &guest.counters()).written, "afterwards");
}

#[test]
fn the_hosts_writes_are_marked_for_whoever_tracks() {
    if !kvm() {
        return;
    }
    let machine = machine(with_plug(), 1);
    run(&machine, &workload(Kind::Idle, 300, 1, Pacing::Free));
    machine.start_tracking(Client::Code).expect("start");
    assert_eq!(machine.vm().lock_dirty_bits().logging_blocks().count(), 0, "CODE turns no logging on");
    begin(&machine, Client::DirtyRate);
    // Two bytes, over the border of two pages.
    machine.vm().write_memory(20 * MIB - 1, &[1, 2]).expect("RAM");
    let expected: PageSet = [20 * MIB / page_size() - 1, 20 * MIB / page_size()].into_iter().collect();
    assert_eq!(pages_of(&machine, Client::DirtyRate), expected);
    assert_eq!(pages_of(&machine, Client::Code), expected);
    assert!(pages_of(&machine, Client::Migration).is_empty(), "MIGRATION does not track");
    let text = refusal(machine.vm().write_memory(with_plug()[0].bytes - 1, &[1, 2]));
    assert!(text.contains("not all in RAM"), "{text}");
    sync(&machine);
    assert_eq!(take(&machine, Client::DirtyRate), expected, "and a refused write marks nothing");
}

#[test]
fn a_bitmap_is_taken_block_by_block_also_of_a_block_that_is_gone() {
    if !kvm() {
        return;
    }
    let machine = machine(with_plug(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 300, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    machine.start_tracking(Client::Migration).expect("start");
    take(&machine, Client::Migration);
    let from = guest.counters();
    make(&machine, &guest, 300);
    sync(&machine);
    machine.vm().remove_block("plug").expect("removed");
    let truth = guest.truth(&from, &guest.counters()).written;
    let mut dirty_memory = machine.vm().lock_dirty_memory();
    let mut taken = Vec::new();
    for spec in with_plug() {
        let mut words = vec![0; words_for(spec.bytes / page_size())];
        let wrong = refusal(dirty_memory.take_bitmap(Client::Migration, &spec.name, &mut words[1..]));
        assert!(wrong.contains("words"), "{wrong}");
        dirty_memory.take_bitmap(Client::Migration, &spec.name, &mut words).expect("taken");
        let first = spec.guest_address / page_size();
        taken.extend(Ranges::new(&words).flat_map(|range| first + range.first..first + range.end()));
    }
    assert_same(&but_read_only(&machine, &taken.into()), &truth, "block by block");
    let rest = dirty_memory.reap(Client::Migration).expect("step 5");
    assert_eq!((rest.pages, rest.blocks.iter().filter(|block| block.removed).count()), (0, 0), "all of it was taken");
    let others = dirty_memory.reap(Client::DirtyRate).expect("step 5");
    let expected = truth.len() as u64..=(truth.len() + guest.read_only().len()) as u64;
    assert!(expected.contains(&others.pages), "and from nobody else");
}

#[test]
fn a_block_too_many_is_refused_by_name_and_a_slot_that_is_free_again_is_used() {
    if !kvm() {
        return;
    }
    let vm = kvm_ioctls::Kvm::new().and_then(|kvm| kvm.create_vm()).expect("a VM");
    let slots = Slots::new(vm_fd(&vm), 2).expect("a descriptor");
    let region = |number: u64| {
        let memory = MmapRegion::new(page_size() as usize).expect("a page");
        GuestRegionMmap::<()>::new(memory, GuestAddress(number * MIB)).expect("an address")
    };
    let regions = [region(0), region(1), region(2)];
    let add = |number: usize, name: &str| {
        // SAFETY: the regions are mapped until the end of the test, and the VM runs no vCPU.
        unsafe { slots.add(name, &regions[number]) }
    };
    let first = add(0, "first").expect("a slot");
    add(1, "second").expect("a slot");
    let text = refusal(add(2, "third"));
    assert!(text.contains("'third'") && text.contains("too many blocks") && text.contains("2 memory slots"), "{text}");
    slots.remove(first.id).expect("removed");
    add(2, "third").expect("the slot that was the first's");
    drop((slots, vm));
}
