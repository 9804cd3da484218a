//! Things that a VMM may have done to its VM before this crate's logs were made, or may do later. The logs are right
//! all the same, or return an error.

mod support;

#[path = "../examples/shared/guest.rs"]
mod guest;
#[path = "../examples/foreign_vmm/measure.rs"]
#[allow(dead_code, reason = "the example's own measurements are another test's")]
mod measure;
#[path = "../examples/shared/vcpu.rs"]
mod vcpu;
#[path = "../examples/foreign_vmm/vmm.rs"]
mod vmm;

use dirtyrate::Error;
use dirtyrate::bitmap::PageRange;
use dirtyrate::dirty_memory::{
    Client, DEFAULT_CLEAR_CHUNK_BYTES, DirtyLog, DirtyMemory, FakeCall, FakeLog, FakeProtect,
};
use dirtyrate::kvm::dirty_ring::RingSetup;
use dirtyrate::kvm::{BitmapLog, ManualProtect, Slots, vcpu_fd};
use dirtyrate::{BlockId, BlockInfo, CancelToken};
use kvm_bindings::{KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, kvm_enable_cap};
use measure::{FIRST, WRITTEN, adopt, slots_of};
use support::{kvm, page_size, refusal};
use vm_memory::{GuestAddress, GuestRegionMmap, MmapRegion};
use vmm::{HIGH, Vmm};

const ENTRIES: u32 = 4096;

fn vmm() -> Vmm {
    Vmm::new(FIRST, WRITTEN).expect("a VM")
}

fn has_rings(vmm: &Vmm) -> bool {
    if vmm.capabilities.dirty_ring_entries == 0 {
        println!("skipped: this kernel has no dirty ring");
    }
    vmm.capabilities.dirty_ring_entries > 0
}

fn enable(slots: &Slots, vmm: &Vmm, entries: u32) -> RingSetup {
    RingSetup::enable(slots, &vmm.capabilities, entries).expect("rings")
}

/// Turns manual protect on, as a VMM can at any time. Returns whether this kernel has it.
fn turn_manual_protect_on(vmm: &Vmm) -> bool {
    let best = match vmm.capabilities.manual_protect {
        ManualProtect::None => return false,
        ManualProtect::Enable => 1,
        // Enabled, and initially set.
        _ => 3,
    };
    let cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2;
    vmm.vm.enable_cap(&kvm_enable_cap { cap, args: [best, 0, 0, 0], ..Default::default() }).expect("the kernel has it");
    true
}

/// Dirty memory with the VMM's blocks, whose first window is open.
fn begin(vmm: &Vmm, log: impl DirtyLog + 'static, blocks: Vec<BlockInfo>) -> DirtyMemory {
    let mut memory = DirtyMemory::new(Box::new(log), vmm.capabilities.page_size, DEFAULT_CLEAR_CHUNK_BYTES);
    blocks.into_iter().for_each(|block| memory.add_block(block).expect("added"));
    memory.start_tracking(Client::DirtyRate).expect("step 1");
    memory.discard_initial_log(&CancelToken::new()).expect("step 2");
    memory.clear(Client::DirtyRate).expect("step 3");
    memory
}

/// What was written of the block that the guest writes to, taken.
fn written(memory: &mut DirtyMemory) -> Vec<PageRange> {
    memory.sync(&CancelToken::new()).expect("step 4");
    let ranges = {
        let bits = memory.bits();
        let bitmap = bits.bitmap(Client::DirtyRate, HIGH).expect("it exists").expect("it is tracked");
        bitmap.ranges().collect()
    };
    assert!(memory.take(Client::DirtyRate).expect("step 5").is_complete());
    ranges
}

fn expect_exact(vmm: &Vmm, memory: &mut DirtyMemory) {
    for round in 0..12 {
        vmm.round().expect("the guest writes");
        assert_eq!(written(memory), [PageRange { first: FIRST, pages: WRITTEN }], "round {round}");
        assert_eq!(written(memory), [], "round {round}: the guest stood");
    }
}

#[test]
fn a_bitmap_without_manual_protect_turns_that_of_somebody_else_off() {
    if !kvm() {
        return;
    }
    let mut vmm = vmm();
    if !turn_manual_protect_on(&vmm) {
        println!("skipped: this kernel has no manual protect");
        return;
    }
    vmm.set_slots().expect("slots");
    let slots = slots_of(&vmm).expect("a descriptor");
    let blocks = adopt(&vmm, &slots).expect("taken in");
    let log = BitmapLog::with_manual_protect(&slots, &vmm.capabilities, ManualProtect::None).expect("a log");
    let vcpu = vmm.create_vcpu().expect("a vCPU");
    vmm.start(vcpu, None).expect("started");
    let mut memory = begin(&vmm, log, blocks);
    expect_exact(&vmm, &mut memory);
}

#[test]
fn rings_turn_manual_protect_of_somebody_else_off() {
    if !kvm() {
        return;
    }
    let mut vmm = vmm();
    if !has_rings(&vmm) {
        return;
    }
    turn_manual_protect_on(&vmm);
    let slots = slots_of(&vmm).expect("a descriptor");
    let setup = enable(&slots, &vmm, ENTRIES);
    vmm.set_slots().expect("slots");
    let blocks = adopt(&vmm, &slots).expect("taken in");
    let vcpu = vmm.create_vcpu().expect("a vCPU");
    let (log, exits) = setup.attach([vcpu_fd(&vcpu)], vmm.pauser()).expect("attached");
    vmm.start(vcpu, Some(Box::new(exits))).expect("started");
    let mut memory = begin(&vmm, log, blocks);
    expect_exact(&vmm, &mut memory);
}

#[test]
fn a_second_bitmap_is_refused_while_the_first_is_in_use() {
    if !kvm() {
        return;
    }
    let vmm = vmm();
    let slots = slots_of(&vmm).expect("a descriptor");
    let log = || BitmapLog::new(&slots, &vmm.capabilities);
    let first = log().expect("a log");
    assert!(refusal(log()).contains("in use"));
    drop(first);
    log().expect("the first is gone");
}

#[test]
fn a_slot_that_the_kernel_has_otherwise_is_not_taken_in() {
    if !kvm() {
        return;
    }
    let vmm = vmm();
    vmm.set_slots().expect("slots");
    let slots = slots_of(&vmm).expect("a descriptor");
    let [(name, right), _] = vmm.regions();
    let page = vmm.capabilities.page_size;
    let others = [
        kvm_bindings::kvm_userspace_memory_region { memory_size: right.memory_size / 2, ..right },
        kvm_bindings::kvm_userspace_memory_region { memory_size: right.memory_size * 2, ..right },
        kvm_bindings::kvm_userspace_memory_region { userspace_addr: right.userspace_addr + page, ..right },
        kvm_bindings::kvm_userspace_memory_region { memory_size: 0, ..right },
    ];
    for other in others {
        // SAFETY: what differs from the slot is refused, and so nothing of it is used.
        let text = refusal(unsafe { slots.adopt(name, other) });
        assert!(text.contains("slot 3 of block 'low'"), "{text}");
    }
    // SAFETY: the memory is mapped while the VMM is there, and it leaves its slots as they are.
    unsafe { slots.adopt(name, right) }.expect("as it is");
}

#[test]
fn a_slot_that_the_kernel_does_not_have_is_neither_taken_in_nor_made() {
    if !kvm() {
        return;
    }
    let vmm = vmm();
    let slots = slots_of(&vmm).expect("a descriptor");
    let [(name, region), _] = vmm.regions();
    for _ in 0..2 {
        // SAFETY: the memory is mapped while the VMM is there.
        let text = refusal(unsafe { slots.adopt(name, region) });
        assert!(text.contains("slot 3 of block 'low' is not in the kernel"), "{text}");
    }
    // If a slot were left behind, the VMM could not set its own at the same address.
    vmm.set_slots().expect("slots");
    // SAFETY: the memory is mapped while the VMM is there, and it leaves its slots as they are.
    unsafe { slots.adopt(name, region) }.expect("it is there now");
    let other = kvm_bindings::kvm_userspace_memory_region { slot: region.slot + 1000, ..region };
    // SAFETY: as above.
    let text = refusal(unsafe { slots.adopt("again", other) });
    assert!(text.contains("is not in the kernel"), "the memory is another slot's: {text}");
}

#[test]
fn a_block_is_refused_in_pages_of_another_size_than_the_kernels() {
    if !kvm() {
        return;
    }
    let vmm = vmm();
    vmm.set_slots().expect("slots");
    let slots = slots_of(&vmm).expect("a descriptor");
    let [block, _] = adopt(&vmm, &slots).expect("taken in").try_into().expect("two blocks");
    let log = BitmapLog::new(&slots, &vmm.capabilities).expect("a log");
    let mut memory = DirtyMemory::new(Box::new(log), 16 * page_size(), 1 << 30);
    let text = refusal(memory.add_block(block));
    assert!(text.contains(&format!("its log has pages of {} bytes", page_size())), "{text}");
}

#[test]
fn a_block_has_one_slot_and_each_slot_a_number_of_its_own() {
    if !kvm() {
        return;
    }
    let vmm = vmm();
    let slots = slots_of(&vmm).expect("a descriptor");
    let bytes = 4 * page_size();
    let region = |at: u64| {
        let mapping = MmapRegion::new(bytes as usize).expect("memory");
        GuestRegionMmap::<()>::new(mapping, GuestAddress(at * bytes)).expect("an address")
    };
    let regions: Vec<_> = (0..8).map(region).collect();
    // SAFETY: the memory is mapped until the VM is gone, which runs no vCPU.
    let add = |region: usize| unsafe { slots.add("block", &regions[region]) };
    let mut blocks: Vec<_> = (0..6).map(|region| add(region).expect("added")).collect();
    assert!(add(3).is_err(), "its addresses are another block's");
    // Numbers that were given back are given again, and none twice; a block that comes back is another block.
    for region in [4, 1, 3] {
        slots.remove(blocks[region].id).expect("removed");
        assert!(slots.remove(blocks[region].id).is_err(), "it is gone");
    }
    blocks.resize(regions.len(), blocks[0].clone());
    for region in [3, 6, 1, 7, 4] {
        let block = add(region).expect("added");
        assert!(blocks.iter().all(|other| other.id != block.id), "{block:?}");
        slots.set_logging(block.id, true).expect("its log goes on");
        blocks[region] = block;
    }
    blocks.iter().for_each(|block| slots.remove(block.id).expect("each is there"));
}

#[test]
fn a_vcpu_without_such_a_ring_is_refused() {
    if !kvm() {
        return;
    }
    let (ours, without, smaller) = (vmm(), vmm(), vmm());
    if !has_rings(&ours) {
        return;
    }
    let _smaller = enable(&slots_of(&smaller).expect("a descriptor"), &smaller, 1024);
    for other in [&without, &smaller] {
        let vmm = vmm();
        let setup = enable(&slots_of(&vmm).expect("a descriptor"), &vmm, ENTRIES);
        let vcpu = other.create_vcpu().expect("a vCPU");
        let text = refusal(setup.attach([vcpu_fd(&vcpu)], vmm.pauser()));
        assert!(text.contains("no dirty ring of 4096 entries"), "{text}");
    }
    // Nor can rings be had for a vCPU that is there already.
    let _vcpu = ours.create_vcpu().expect("a vCPU");
    let late = RingSetup::enable(&slots_of(&ours).expect("a descriptor"), &ours.capabilities, ENTRIES);
    assert!(refusal(late).contains("before its first vCPU"));
}

#[test]
fn a_vcpu_that_is_made_later_is_taken_in() {
    if !kvm() {
        return;
    }
    let mut vmm = vmm();
    if !has_rings(&vmm) {
        return;
    }
    let slots = slots_of(&vmm).expect("a descriptor");
    let setup = enable(&slots, &vmm, ENTRIES);
    vmm.set_slots().expect("slots");
    let blocks = adopt(&vmm, &slots).expect("taken in");
    let (log, exits) = setup.attach(std::iter::empty::<std::os::fd::BorrowedFd>(), vmm.pauser()).expect("attached");
    let mut memory = begin(&vmm, log, blocks);
    let vcpu = vmm.create_vcpu().expect("a vCPU");
    assert_eq!(exits.attach(vcpu_fd(&vcpu)).expect("attached"), 0);
    vmm.start(vcpu, Some(Box::new(exits))).expect("started");
    expect_exact(&vmm, &mut memory);
    vmm.round().expect("the guest writes");
    memory.sync(&CancelToken::new()).expect("step 4");
    let reap = memory.take(Client::DirtyRate).expect("step 5");
    assert_eq!(reap.ring.expect("rings").vcpus[0].pages, reap.pages);
}

#[test]
fn a_vcpu_that_was_not_attached_is_an_error() {
    if !kvm() {
        return;
    }
    let mut vmm = vmm();
    if !has_rings(&vmm) {
        return;
    }
    let slots = slots_of(&vmm).expect("a descriptor");
    let setup = enable(&slots, &vmm, ENTRIES);
    vmm.set_slots().expect("slots");
    let blocks = adopt(&vmm, &slots).expect("taken in");
    let (log, exits) = setup.attach(std::iter::empty::<std::os::fd::BorrowedFd>(), vmm.pauser()).expect("attached");
    let mut memory = begin(&vmm, log, blocks);
    let vcpu = vmm.create_vcpu().expect("a vCPU");
    vmm.start(vcpu, Some(Box::new(exits))).expect("started");
    // The pages stay unprotected where guest code runs at the CPU's own level: a ring is filled by protecting them
    // again.
    let error = (0..100).find_map(|_| {
        memory.stop_tracking(Client::DirtyRate).expect("stopped");
        memory.start_tracking(Client::DirtyRate).expect("step 1");
        vmm.round().err()
    });
    let error = error.expect("the ring is full before");
    assert!(matches!(error, Error::State(_)) && error.to_string().contains("nobody harvests it"), "{error}");
}

#[test]
fn a_block_that_could_not_be_added_leaves_its_log_off() {
    for (protect, call) in
        [(FakeProtect::ManualInitiallySet, FakeCall::Reprotect), (FakeProtect::Manual, FakeCall::SetLogging)]
    {
        let log = FakeLog::new(protect);
        let mut memory = DirtyMemory::new(Box::new(log.clone()), page_size(), DEFAULT_CLEAR_CHUNK_BYTES);
        memory.start_tracking(Client::DirtyRate).expect("step 1");
        log.add_block(BlockId(1), 100);
        let block = BlockInfo { id: BlockId(1), name: "ram".to_owned(), guest_address: 0, pages: 100 };
        log.fail(call, 0);
        memory.add_block(block.clone()).expect_err("the log refuses");
        assert!(!log.is_logging(BlockId(1)), "{protect:?}: nobody would turn it off any more");
        memory.add_block(block).expect("added at the second attempt");
    }
}
