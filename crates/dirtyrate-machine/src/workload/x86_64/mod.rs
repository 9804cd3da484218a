//! The guest's code. It is data here: assembled into a read-only section, copied into images, never
//! run by the host.
//!
//! What the guest needs from a VMM: for the first vCPU the state of Xen's PVH ABI (the guest does not look at the start
//! info); memory that is 0 where nothing was loaded; APIC ids that count up from 0; and for several vCPUs an APIC in
//! xAPIC mode at its usual address, with the other vCPUs waiting for INIT and SIPI. It needs no interrupt, firmware or
//! device. If a guest that is paced by its clock was not told the frequency of the TSC, it finds it by KVM's clock, or
//! else by the PC's timer (8254). If there is neither, it never becomes ready.

use std::arch::naked_asm;

use super::contract::{self, CODE_BYTES, COPY, IDLE_PORT, IMAGE_OFFSET as IMAGE_BASE};
use super::elf::Executable;
use super::kind::Kind;
use super::ram::RamRange;
use super::sequence;

/// Where the other vCPUs begin: a SIPI can name pages of the first MiB only.
const TRAMPOLINE_PAGE: u64 = 0x8000;
/// The page that the image needs beside the place where it is loaded.
pub(super) const TRAMPOLINE: Option<u64> = Some(TRAMPOLINE_PAGE);

/// The page sizes of hosts.
pub(super) const PAGE_SIZES: &[u64] = &[4096];

/// The kind of ELF that the image is.
pub(super) const ELF: Executable = Executable::Pvh;

// Page tables: Intel SDM 3A, 4.5.
const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
/// Bits of an entry that maps 2 MiB.
pub(super) const LEAF: u64 = PRESENT | WRITABLE | ACCESSED | DIRTY | LARGE;
/// Bits of an entry that points to a table.
pub(super) const LINK: u64 = PRESENT | WRITABLE | ACCESSED;

/// Where RAM begins: on a PC always at 0.
pub(super) fn ram_start(_: &[RamRange]) -> u64 {
    0
}

/// Always `None`, because on x86-64 a vCPU that has nothing to do writes to a port.
pub(super) fn idle_address(_: &[RamRange]) -> Option<u64> {
    None
}

/// The xAPIC's interrupt command register, where every PC has it.
const INTERRUPT_COMMAND: u64 = 0xfee0_0300;
/// "All excluding self", asserted, delivery mode INIT: Intel SDM volume 3, "Interrupt Command
/// Register".
const INIT_OTHERS: u64 = 0x000c_4500;
/// The same with delivery mode start-up; the vector is the number of the page to start at.
const START_OTHERS: u64 = 0x000c_4600 | (TRAMPOLINE_PAGE >> 12);

const CR0_PROTECTED: u64 = 1 << 0;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
const EFER: u64 = 0xc000_0080;
const EFER_LONG_MODE_ENABLE: u64 = 1 << 8;

/// CPUID 4000_0000H, EBX and ECX: the beginning and the middle of `KVMKVMKVM` (Documentation/virt/kvm/x86/cpuid.rst).
const KVM_SIGNATURE_1: u32 = u32::from_le_bytes(*b"KVMK");
const KVM_SIGNATURE_2: u32 = u32::from_le_bytes(*b"VMKV");
/// CPUID 4000_0001H, EAX: KVM_FEATURE_CLOCKSOURCE2, the clock at [`KVM_CLOCK_MSR`].
const KVM_CLOCK: u32 = 1 << 3;
/// MSR_KVM_SYSTEM_TIME_NEW.
const KVM_CLOCK_MSR: u32 = 0x4b56_4d01;
/// Nanoseconds in a second. The clock's factor is in units of 2^-32 ns.
const NANOSECONDS: u64 = 1_000_000_000;

/// What a PC's timer counts in a second.
const TIMER_HERTZ: u32 = 1_193_182;
/// Counts of one run, which takes a fiftieth of a second. The counter wraps around in an eighteenth of a second.
const TIMER_RUN: u32 = TIMER_HERTZ / 50;
/// After how many runs a guest gives up. One run is enough, unless the vCPU was not running for the rest of the
/// eighteenth.
const TIMER_RUNS: u32 = 1000;
/// How often the timer is read at each end of a run.
const TIMER_READINGS: u32 = 16;

/// With 8 bits, so that `out` needs no register for it.
const IDLE_PORT_BYTE: u8 = IDLE_PORT as u8;
const _: () = assert!(IDLE_PORT_BYTE as u16 == IDLE_PORT);

/// The address of the assembled `guest.s`. This is a function, because function names are mangled, so that the code has
/// no name that another copy of this crate in the same program could have too.
#[unsafe(naked)]
extern "C" fn assembled() -> *const [u8; CODE_BYTES] {
    naked_asm!(
        "leaq .Lcode_{copy}(%rip), %rax",
        "ret",
        include_str!("guest.s"),
        copy = const COPY,
        code_bytes = const CODE_BYTES,
        image_base = const IMAGE_BASE,
        trampoline = const TRAMPOLINE_PAGE,
        interrupt_command = const INTERRUPT_COMMAND,
        init_others = const INIT_OTHERS,
        start_others = const START_OTHERS,
        cr0_protected = const CR0_PROTECTED | CR0_EXTENSION_TYPE,
        cr0_long = const CR0_PROTECTED | CR0_EXTENSION_TYPE | CR0_PAGING,
        cr4 = const CR4_PHYSICAL_ADDRESS_EXTENSION,
        efer = const EFER,
        efer_long = const EFER_LONG_MODE_ENABLE,
        header_vcpus = const IMAGE_BASE + contract::HEADER_VCPUS,
        header_kind = const IMAGE_BASE + contract::HEADER_KIND,
        header_root = const IMAGE_BASE + contract::HEADER_ROOT,
        header_links = const IMAGE_BASE + contract::HEADER_LINKS,
        header_link_count = const IMAGE_BASE + contract::HEADER_LINK_COUNT,
        header_first_entries = const IMAGE_BASE + contract::HEADER_FIRST_ENTRIES,
        header_directories = const IMAGE_BASE + contract::HEADER_DIRECTORIES,
        header_directory_count = const IMAGE_BASE + contract::HEADER_DIRECTORY_COUNT,
        header_ticks = const IMAGE_BASE + contract::HEADER_TICKS,
        parameters = const IMAGE_BASE + contract::PARAMETERS,
        mailbox = const contract::MAILBOX,
        budget = const contract::BUDGET,
        value = const contract::VALUE,
        seed = const contract::SEED,
        segments = const contract::SEGMENTS,
        pages = const contract::PAGES,
        cold_first = const contract::COLD_FIRST,
        cold_pages = const contract::COLD_PAGES,
        segment_a = const contract::SEGMENT_A,
        segment_b = const contract::SEGMENT_B,
        clock_rate = const contract::CLOCK_RATE,
        clock_most = const contract::CLOCK_MOST,
        clock_rest = const contract::CLOCK_REST,
        clock_scale = const contract::CLOCK_SCALE,
        clock_origin = const contract::CLOCK_ORIGIN,
        mailbox_writes = const contract::MAILBOX_WRITES,
        mailbox_ready = const contract::MAILBOX_READY,
        mailbox_clock = const contract::MAILBOX_CLOCK,
        kvm_signature_1 = const KVM_SIGNATURE_1,
        kvm_signature_2 = const KVM_SIGNATURE_2,
        kvm_clock = const KVM_CLOCK,
        kvm_clock_msr = const KVM_CLOCK_MSR,
        nanoseconds = const NANOSECONDS << 32,
        timer_hertz = const TIMER_HERTZ,
        timer_run = const TIMER_RUN,
        timer_runs = const TIMER_RUNS,
        timer_readings = const TIMER_READINGS,
        stride = const Kind::Stride as u64,
        random = const Kind::Random as u64,
        hot_cold = const Kind::HotCold as u64,
        silent = const Kind::Silent as u64,
        gamma = const sequence::GAMMA,
        multiplier_1 = const sequence::MULTIPLIER_1,
        multiplier_2 = const sequence::MULTIPLIER_2,
        hot_below = const sequence::HOT_BELOW,
        idle_port = const IDLE_PORT_BYTE,
        options(att_syntax)
    )
}

/// The code, made to be loaded at the image's base and entered at its first byte, in the state of
/// PVH's ABI.
pub(super) fn code() -> &'static [u8; CODE_BYTES] {
    // SAFETY: guest.s has `code_bytes` initialised bytes there, in a read-only section of this program, which stays
    // mapped for as long as its functions can be called; nothing writes to them.
    unsafe { &*assembled() }
}
