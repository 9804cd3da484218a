//! The logs on the VM of another VMM. This uses the VMM of the example, whose guest writes the same pages in each
//! round.

mod support;

#[path = "../examples/shared/guest.rs"]
mod guest;
#[path = "../examples/foreign_vmm/measure.rs"]
mod measure;
#[path = "../examples/shared/vcpu.rs"]
mod vcpu;
#[path = "../examples/foreign_vmm/vmm.rs"]
mod vmm;

use std::path::Path;

use dirtyrate::BlockInfo;
use dirtyrate::bitmap::PageRange;
use dirtyrate::dirty_memory::{DEFAULT_CLEAR_CHUNK_BYTES, DirtyMemory};
use dirtyrate::kvm::dirty_ring::RingSetup;
use dirtyrate::kvm::{BitmapLog, Capabilities};
use kvm_bindings::KVM_MEM_LOG_DIRTY_PAGES;
use measure::{FIRST, Measured, WRITTEN};
use support::kvm;

/// More than the ring holds, several times.
const ROUNDS: usize = 40;

fn expect_exact(rounds: Vec<Measured>) {
    assert_eq!(rounds.len(), ROUNDS);
    for (round, Measured { reap, ranges }) in rounds.iter().enumerate() {
        assert_eq!(ranges, &[PageRange { first: FIRST, pages: WRITTEN }], "round {round}");
        assert!(reap.is_complete() && reap.bytes_per_second > 0.0, "round {round}");
        if let Some(ring) = &reap.ring {
            assert_eq!((ring.vcpus.len(), ring.vcpus[0].pages), (1, reap.pages), "round {round}");
        }
    }
}

#[test]
fn the_bitmap_of_a_foreign_vm_has_what_its_guest_wrote() {
    if kvm() {
        expect_exact(measure::by_bitmap(ROUNDS).expect("measured"));
    }
}

#[test]
fn the_ring_of_a_foreign_vm_has_what_its_guest_wrote() {
    if !kvm() {
        return;
    }
    let has_rings = Capabilities::probe(Path::new("/dev/kvm")).expect("KVM").dirty_ring_entries > 0;
    match measure::by_ring(ROUNDS) {
        Ok(rounds) => expect_exact(rounds),
        Err(error) => assert!(!has_rings && error.to_string().contains("no dirty ring"), "{error}"),
    }
}

/// Where the kernel wants it so (KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, arm64), that is said; elsewhere slots may come
/// first.
#[test]
fn rings_come_before_slots_where_there_is_a_bitmap_beside_them() {
    if !kvm() {
        return;
    }
    let vmm = vmm::Vmm::new(FIRST, WRITTEN).expect("a VM");
    if vmm.capabilities.dirty_ring_entries == 0 {
        println!("skipped: this kernel has no dirty ring");
        return;
    }
    vmm.set_slots().expect("slots");
    let slots = measure::slots_of(&vmm).expect("a descriptor");
    let enabled = RingSetup::enable(&slots, &vmm.capabilities, 4096);
    match enabled {
        Ok(_) => assert!(!vmm.capabilities.dirty_ring_with_bitmap),
        Err(error) => {
            assert!(
                vmm.capabilities.dirty_ring_with_bitmap && error.to_string().contains("before the first slot"),
                "{error}"
            );
            // The rings are there all the same.
            let error = BitmapLog::new(&slots, &vmm.capabilities).map(drop).expect_err("it has rings");
            assert!(error.to_string().contains("has a dirty ring"), "{error}");
        }
    }
}

/// Manual protect beside rings would lose writes, and what is enabled stays so.
#[test]
fn a_vm_has_one_log() {
    if !kvm() {
        return;
    }
    let vmm = vmm::Vmm::new(FIRST, WRITTEN).expect("a VM");
    let slots = measure::slots_of(&vmm).expect("a descriptor");
    let bitmap = || BitmapLog::new(&slots, &vmm.capabilities).map(drop);
    let ring = || RingSetup::enable(&slots, &vmm.capabilities, 4096).map(drop);
    let has_rings = vmm.capabilities.dirty_ring_entries > 0;
    // Where there are no rings that is said, and the bitmap can still be had, again and again.
    assert_eq!(ring().is_ok(), has_rings);
    for _ in 0..2 {
        match bitmap() {
            Ok(()) => assert!(!has_rings),
            Err(error) => assert!(has_rings && error.to_string().contains("has a dirty ring"), "{error}"),
        }
    }
}

#[test]
fn a_block_has_the_pages_of_its_slot() {
    if !kvm() {
        return;
    }
    let vmm = vmm::Vmm::new(FIRST, WRITTEN).expect("a VM");
    vmm.set_slots().expect("slots");
    let slots = measure::slots_of(&vmm).expect("a descriptor");
    let [(name, region), _] = vmm.regions();
    // SAFETY: the memory is mapped while the VMM is there.
    let adopted = unsafe { slots.adopt(name, region) }.expect("taken in");
    let log = BitmapLog::new(&slots, &vmm.capabilities).expect("a log");
    let page_size = vmm.capabilities.page_size;
    let mut memory = DirtyMemory::new(Box::new(log), page_size, DEFAULT_CLEAR_CHUNK_BYTES);
    let pages = region.memory_size / page_size;
    assert_eq!((adopted.name.as_str(), adopted.guest_address, adopted.pages), (name, 0, pages));
    let block = |pages| BlockInfo { pages, ..adopted.clone() };
    for wrong in [pages - 1, pages + 1, pages + 64, 16 * pages] {
        let error = memory.add_block(block(wrong)).expect_err("another number");
        assert!(error.to_string().contains("another number of pages"), "{error}");
    }
    memory.add_block(block(pages)).expect("the same");
}

#[test]
fn a_slot_is_taken_in_once_and_with_its_log_off() {
    if !kvm() {
        return;
    }
    let vmm = vmm::Vmm::new(FIRST, WRITTEN).expect("a VM");
    vmm.set_slots().expect("slots");
    let slots = measure::slots_of(&vmm).expect("a descriptor");
    let [(name, mut region), _] = vmm.regions();
    region.flags |= KVM_MEM_LOG_DIRTY_PAGES;
    // SAFETY: the memory is mapped while the VMM is there, also below.
    let error = unsafe { slots.adopt(name, region) }.expect_err("its log is on");
    assert_eq!(
        error.to_string(),
        "slot 3 of block 'low' has its dirty log on: turn that off first, because the code that turned it on would miss what is fetched here"
    );
    region.flags = 0;
    // SAFETY: as above.
    let block = unsafe { slots.adopt(name, region) }.expect("taken in");
    // SAFETY: as above.
    let error = unsafe { slots.adopt(name, region) }.expect_err("twice");
    assert_eq!(error.to_string(), "slot 3 of block 'low' is known already");
    slots.set_logging(block.id, true).expect("its log goes on");
    slots.remove(block.id).expect("removed");
    // SAFETY: as above.
    let error = unsafe { slots.adopt(name, region) }.expect_err("gone");
    assert!(error.to_string().starts_with("slot 3 of block 'low' is not in the kernel"), "{error}");
    vmm.set_slots().expect("the slot comes back");
    // SAFETY: as above.
    let again = unsafe { slots.adopt(name, region) }.expect("taken in again");
    assert_ne!(again.id, block.id, "it is another block");
}
