//! Behaviour of KVM that shows only if the CPU itself runs the guest's code: a ring stops the guest at its soft limit,
//! and a ring with manual protect loses writes. A kernel that emulates the guest pushes every write, protected or not,
//! and passes the limit; there these tests say so and end. They use a bare VM.
//!
//! x86-64 only: its guest is that CPU's code.

#![cfg(target_arch = "x86_64")]

mod support;

use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use kvm_bindings::{
    KVM_CAP_DIRTY_LOG_RING, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, KVM_DIRTY_LOG_PAGE_OFFSET, KVM_MEM_LOG_DIRTY_PAGES,
    kvm_dirty_gfn, kvm_enable_cap, kvm_regs, kvm_segment, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use support::{MIB, kvm, nested_paging, page_size};
use vm_memory::MmapRegion;

/// Entries of the ring.
const ENTRIES: u32 = 4096;
/// Entries that the kernel keeps free (KVM_DIRTY_RING_RSVD_ENTRIES), and those of a CPU's page-modification log, if it
/// has one.
const RESERVED: u32 = 64;
const PML: u32 = 512;
/// KVM_EXIT_DIRTY_RING_FULL, as kvm-ioctls returns it.
const RING_FULL: u32 = 31;
/// KVM_DIRTY_GFN_F_DIRTY.
const DIRTY: u32 = 1;
/// MANUAL_PROTECT_ENABLE and INITIALLY_SET.
const ENABLE_AND_INITIALLY_SET: u64 = 3;

/// Where the guest's instructions are, and the pages that it writes.
const CODE: u64 = 0;
const FIRST: u64 = MIB;
const BYTES: u64 = 64 * MIB;

/// Writes `ebx` to `[ebx]`, page after page from `ebx` to `ecx`; then halts. Without paging: nothing else is written.
const GUEST: [u8; 13] = [
    0x89, 0x1b, // next: mov [ebx], ebx
    0x81, 0xc3, 0x00, 0x10, 0x00, 0x00, // add ebx, 4096
    0x39, 0xcb, // cmp ebx, ecx
    0x75, 0xf4, // jne next
    0xf4, // hlt
];

/// A VM with a ring, one vCPU and one slot of memory.
struct Bare {
    // Before what it runs on.
    vcpu: VcpuFd,
    ring: NonNull<kvm_dirty_gfn>,
    vm: VmFd,
    memory: MmapRegion,
}

impl Bare {
    fn new(manual_protect: bool) -> Self {
        let kvm = Kvm::new().expect("KVM");
        let vm = kvm.create_vm().expect("a VM");
        let enable = |cap: u32, argument: u64| {
            let cap = kvm_enable_cap { cap, args: [argument, 0, 0, 0], ..Default::default() };
            vm.enable_cap(&cap).expect("it can be enabled");
        };
        enable(KVM_CAP_DIRTY_LOG_RING, u64::from(ENTRIES) * size_of::<kvm_dirty_gfn>() as u64);
        if manual_protect {
            enable(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, ENABLE_AND_INITIALLY_SET);
        }
        let vcpu = vm.create_vcpu(0).expect("a vCPU");
        // SAFETY: a new mapping, at no address of ours, of the ring that the kernel has for this vCPU.
        let ring = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                ENTRIES as usize * size_of::<kvm_dirty_gfn>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                i64::from(KVM_DIRTY_LOG_PAGE_OFFSET) * page_size() as i64,
            )
        };
        assert_ne!(ring, libc::MAP_FAILED, "the ring is mapped");
        let ring = NonNull::new(ring.cast()).expect("no mapping is at 0");
        let bare = Self { vcpu, ring, vm, memory: MmapRegion::new(BYTES as usize).expect("memory") };
        // SAFETY: the code lies within the region, which nobody else uses yet.
        unsafe { bare.memory.as_ptr().add(CODE as usize).copy_from_nonoverlapping(GUEST.as_ptr(), GUEST.len()) };
        bare.log(false);
        bare
    }

    fn log(&self, on: bool) {
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: if on { KVM_MEM_LOG_DIRTY_PAGES } else { 0 },
            guest_phys_addr: 0,
            memory_size: BYTES,
            userspace_addr: self.memory.as_ptr() as u64,
        };
        // SAFETY: the region is mapped as long as `self`, and the VM is dropped before it.
        unsafe { self.vm.set_user_memory_region(region) }.expect("the slot");
    }

    /// Lets the guest write `pages` pages. Returns the number of entries in the ring if the ring is full before.
    fn write(&mut self, pages: u64) -> Option<u32> {
        let flat = |kind: u8| kvm_segment {
            limit: u32::MAX,
            type_: kind,
            present: 1,
            db: 1,
            s: 1,
            g: 1,
            ..Default::default()
        };
        let mut sregs = self.vcpu.get_sregs().expect("registers");
        sregs.cs = kvm_segment { selector: 8, ..flat(0xb) };
        let data = kvm_segment { selector: 16, ..flat(0x3) };
        (sregs.ds, sregs.es, sregs.ss) = (data, data, data);
        // Protected mode without paging.
        sregs.cr0 |= 1;
        self.vcpu.set_sregs(&sregs).expect("registers");
        let regs =
            kvm_regs { rip: CODE, rbx: FIRST, rcx: FIRST + pages * page_size(), rflags: 2, ..Default::default() };
        self.vcpu.set_regs(&regs).expect("registers");
        match self.vcpu.run().expect("the guest runs") {
            VcpuExit::Hlt => None,
            VcpuExit::Unsupported(RING_FULL) => Some(self.entries()),
            other => panic!("an exit that this guest has no reason for: {other:?}"),
        }
    }

    /// Entries in the ring, of which none was ever harvested.
    fn entries(&self) -> u32 {
        let is_dirty = |position: u32| {
            // SAFETY: the ring has so many entries, mapped as long as `self`; the kernel writes flags as one word.
            let flags = unsafe { AtomicU32::from_ptr(&raw mut (*self.ring.as_ptr().add(position as usize)).flags) };
            flags.load(Ordering::Acquire) == DIRTY
        };
        (0..ENTRIES).take_while(|&position| is_dirty(position)).count() as u32
    }

    /// Pages that hold what the guest wrote.
    fn written(&self) -> u32 {
        let holds_its_address = |address: &u64| {
            // SAFETY: within the region; the guest does not run, and the address is a multiple of 4.
            let word = unsafe { self.memory.as_ptr().add(*address as usize).cast::<u32>().read_volatile() };
            u64::from(word) == *address
        };
        (FIRST..BYTES).step_by(page_size() as usize).filter(holds_its_address).count() as u32
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let bytes = ENTRIES as usize * size_of::<kvm_dirty_gfn>();
        // SAFETY: the mapping of `new`, of this size, which nobody uses any more.
        unsafe { libc::munmap(self.ring.as_ptr().cast(), bytes) };
    }
}

fn at_the_cpus_own_level() -> bool {
    if kvm() && !nested_paging() {
        eprintln!("skipped: this kernel emulates guests");
    }
    kvm() && nested_paging()
}

/// Whether the CPU logs by itself, as Intel's may.
fn page_modification_log() -> bool {
    std::fs::read_to_string("/sys/module/kvm_intel/parameters/pml").is_ok_and(|value| value.trim() == "Y")
}

#[test]
fn a_ring_is_full_at_its_soft_limit() {
    if !at_the_cpus_own_level() {
        return;
    }
    let mut bare = Bare::new(false);
    bare.log(true);
    // More pages than the ring has entries.
    let at = bare.write(2 * u64::from(ENTRIES)).expect("the ring is full before the guest is done");
    let limit = ENTRIES - RESERVED;
    if page_modification_log() {
        // Emptied into the ring whole, when the guest leaves.
        assert!((limit - PML..=limit).contains(&at), "{at} entries of {ENTRIES}");
    } else {
        assert_eq!(at, limit, "entries of {ENTRIES}");
        // The page of the code has an entry, as it was mapped while its log was on; the last page is not written yet.
        assert_eq!(bare.written(), at - 2);
    }
}

#[test]
fn a_ring_under_manual_protect_loses_writes() {
    if !at_the_cpus_own_level() {
        return;
    }
    const PAGES: u64 = 1000;
    for (manual_protect, expected) in [(false, PAGES as u32), (true, 0)] {
        let mut bare = Bare::new(manual_protect);
        // Each page is mapped, writable, before its log is on.
        assert_eq!(bare.write(PAGES), None);
        assert_eq!(bare.entries(), 0);
        bare.log(true);
        assert_eq!(bare.write(PAGES), None);
        assert_eq!(bare.entries(), expected, "of {PAGES} pages, manual protect: {manual_protect}");
        assert_eq!(bare.written(), PAGES as u32);
    }
}
