//! The soft-dirty bits of the process that has a VM are those of its guest's writes, too: KVM marks a page when it maps
//! it for a write of a vCPU.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dirtyrate::CancelToken;
use dirtyrate::sampling::process::{Process, ProcessRange};
use dirtyrate::soft_dirty::{has_soft_dirty, measure_soft_dirty_at};
use dirtyrate_machine::Machine;
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

/// Where this process has the guest's RAM.
fn ranges(machine: &Machine) -> Vec<ProcessRange> {
    let range = |region: &vm_memory::GuestRegionMmap| ProcessRange {
        name: format!("{:#x}", region.start_addr().0),
        guest_address: region.start_addr().0,
        start: region.as_ptr().addr() as u64,
        bytes: region.len(),
    };
    machine.vm().memory().iter().map(range).collect()
}

/// Whether the kernel says that a page of this process was written.
fn is_soft_dirty(address: u64) -> bool {
    let mut entry = [0; 8];
    let pagemap = File::open("/proc/self/pagemap").expect("a pagemap");
    pagemap.read_exact_at(&mut entry, address / page_size() * 8).expect("an entry");
    u64::from_ne_bytes(entry) >> 55 & 1 == 1
}

#[test]
fn what_a_vcpu_writes_is_counted_page_by_page() {
    if !kvm() || !has_soft_dirty().expect("the own pagemap can be read") {
        eprintln!("not tested, because this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
        return;
    }
    // SAFETY: the call takes numbers. Huge pages have one bit each.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    let machine = machine(scattered(), 1);
    let guest = run(&machine, &workload(Kind::Stride, 1000, 1, Pacing::Granted));
    make(&machine, &guest, 1000);
    let process = Arc::new(Process::open(std::process::id()).expect("this process may be read"));
    let ranges = ranges(&machine);
    let control = guest.program().control_page();
    let home = ranges.iter().find(|range| (range.guest_address..range.guest_address + range.bytes).contains(&control));
    let control = home.map(|range| range.start + control - range.guest_address).expect("it is in RAM");
    let mut window = Duration::from_millis(500);
    loop {
        let (from, began) = (guest.counters(), Instant::now());
        assert!(is_soft_dirty(control), "the grants are written there");
        let (reports, in_time) = std::thread::scope(|scope| {
            let measuring = scope.spawn(|| measure_soft_dirty_at(&process, &ranges, &[window], &CancelToken::new()));
            while is_soft_dirty(control) && !measuring.is_finished() {
                std::thread::yield_now();
            }
            make(&machine, &guest, 137);
            let in_time = began.elapsed() < window;
            (measuring.join().expect("no panic").expect("measured"), in_time)
        });
        if in_time {
            let truth = guest.truth(&from, &guest.counters());
            let but_control = |pages: usize| pages as u64 + 1;
            assert!(!reports[0].vanished && reports[0].blocks.iter().all(|block| !block.huge));
            let (low, pages, high) = (truth.lower.len(), reports[0].pages(), but_control(truth.upper.len()));
            assert!(low >= 137 && (low as u64..=high).contains(&pages), "{pages} pages of {low} to {high}");
            return;
        }
        window *= 2;
    }
}
