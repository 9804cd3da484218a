//! A VM with many blocks: adding one more costs about as much as adding the first. The cost is counted in bytes that
//! the allocator is asked for, and not in time.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dirtyrate_machine::vm::{Vm, VmOptions};
use support::*;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all is the system allocator's, with the layout as it came. The cell needs no initialisation and has no
// destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + layout.size() as u64);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.set(ASKED.get() + size as u64);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn asked_for(blocks: u64) -> u64 {
    let vm = Vm::new(&VmOptions::default()).expect("a VM");
    let before = ASKED.get();
    for number in 0..blocks {
        vm.add_block(&block(&format!("block {number}"), number * 4 * page_size(), 1)).expect("added");
    }
    let asked = ASKED.get() - before;
    assert_eq!(vm.blocks().len() as u64, blocks);
    assert!(vm.read_memory((blocks - 1) * 4 * page_size(), &mut [0]).is_ok());
    for number in 0..blocks {
        vm.remove_block(&format!("block {number}")).expect("removed");
    }
    assert!(vm.blocks().is_empty());
    assert!(vm.read_memory(0, &mut [0]).is_err(), "its memory is gone with it");
    asked
}

#[test]
fn many_blocks_cost_what_as_many_single_ones_do() {
    if !kvm() {
        return;
    }
    let (few, many) = (asked_for(250), asked_for(2000));
    // Eight times as many: n log n makes 11 of it, and n squared 64.
    assert!(many < 20 * few, "{few} bytes for 250 blocks, {many} for 2000");
}
