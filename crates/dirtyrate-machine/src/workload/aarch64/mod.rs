//! The guest's code. It is data here: assembled into a read-only section, copied into images, never
//! run by the host.
//!
//! What the guest needs from a VMM: for the first vCPU the state of the arm64 boot protocol, in EL1 (the guest does not
//! look at the device tree); memory that is 0 where nothing was loaded; and for several vCPUs PSCI 0.2 by HVC, and
//! MPIDRs as KVM assigns them, 16 vCPUs to each Aff1. It needs no interrupt, firmware or device. A guest that is paced
//! by its clock reads the virtual counter, whose frequency must be in `CNTFRQ_EL0`.

use std::arch::naked_asm;

use super::contract::{self, CODE_BYTES, COPY, IDLE_ADDRESS};
use super::elf::Executable;
use super::kind::Kind;
use super::ram::RamRange;
use super::{layout, sequence};

/// The image needs no page beside the place where it is loaded.
pub(super) const TRAMPOLINE: Option<u64> = None;

/// The page sizes of hosts.
pub(super) const PAGE_SIZES: &[u64] = &[4096, 16384, 65536];

/// The kind of ELF that the image is.
pub(super) const ELF: Executable = Executable::Arm64;

// Page tables: Arm Architecture Reference Manual, D8.3, "VMSAv8-64 descriptors".
const VALID: u64 = 1 << 0;
/// An entry that points to a table.
const TABLE: u64 = 1 << 1;
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
/// Bits of an entry that maps 2 MiB: attributes number 0, which are those of `MEMORY_ATTRIBUTES`; writable in EL1.
/// Hardware may not mark it dirty (`TCR_EL1.HD`), so there is nothing to write to a table.
pub(super) const LEAF: u64 = VALID | INNER_SHAREABLE | ACCESSED;
/// Bits of an entry that points to a table.
pub(super) const LINK: u64 = VALID | TABLE;

/// `MAIR_EL1`: number 0 is Normal, write-back, cached inside and outside. The host reads the guest's memory through its
/// own caches. It would not see writes of a guest that bypasses the caches (as with the MMU off), unless the CPU forces
/// write-back (FEAT_S2FWB).
const MEMORY_ATTRIBUTES: u64 = 0xff;
/// `TCR_EL1`: 48 bits of address in the lower half, none in the upper, granules of 4 KiB, walks through the caches,
/// inner shareable. The size of physical addresses is put in by the guest.
const TRANSLATION: u64 = T0SZ_48_BITS | WALK_INNER_WRITE_BACK | WALK_OUTER_WRITE_BACK | WALK_INNER_SHAREABLE | NO_UPPER;
const T0SZ_48_BITS: u64 = 64 - 48;
const WALK_INNER_WRITE_BACK: u64 = 1 << 8;
const WALK_OUTER_WRITE_BACK: u64 = 1 << 10;
const WALK_INNER_SHAREABLE: u64 = 3 << 12;
const NO_UPPER: u64 = 1 << 23;
/// `SCTLR_EL1`: MMU, data cache, instruction cache.
const SCTLR_ON: u64 = 1 << 0 | 1 << 2 | 1 << 12;

/// `CPU_ON` of PSCI 0.2 in its 64-bit form (Arm DEN0022, 5.4).
const PSCI_CPU_ON: u64 = 0xc400_0003;

/// Where RAM begins, which differs from machine to machine.
pub(super) fn ram_start(ranges: &[RamRange]) -> u64 {
    ranges.first().map_or(0, |range| range.guest_address)
}

/// The address to which a vCPU writes that has nothing to do; `None` if RAM is there.
pub(super) fn idle_address(ranges: &[RamRange]) -> Option<u64> {
    (!layout::is_ram(ranges, IDLE_ADDRESS, IDLE_ADDRESS + 1)).then_some(IDLE_ADDRESS)
}

/// The address of the assembled `guest.s`. This is a function, because function names are mangled, so that the code has
/// no name that another copy of this crate in the same program could have too.
#[unsafe(naked)]
extern "C" fn assembled() -> *const [u8; CODE_BYTES] {
    naked_asm!(
        "adrp x0, .Lcode_{copy}",
        "add x0, x0, :lo12:.Lcode_{copy}",
        "ret",
        include_str!("guest.s"),
        copy = const COPY,
        code_bytes = const CODE_BYTES,
        memory_attributes = const MEMORY_ATTRIBUTES,
        translation = const TRANSLATION,
        sctlr_on = const SCTLR_ON,
        psci_cpu_on = const PSCI_CPU_ON,
        header_vcpus = const contract::HEADER_VCPUS,
        header_kind = const contract::HEADER_KIND,
        header_root = const contract::HEADER_ROOT,
        header_links = const contract::HEADER_LINKS,
        header_link_count = const contract::HEADER_LINK_COUNT,
        header_first_entries = const contract::HEADER_FIRST_ENTRIES,
        header_directories = const contract::HEADER_DIRECTORIES,
        header_directory_count = const contract::HEADER_DIRECTORY_COUNT,
        header_idle = const contract::HEADER_IDLE,
        header_page_size = const contract::HEADER_PAGE_SIZE,
        header_page_shift = const contract::HEADER_PAGE_SHIFT,
        parameters = const contract::PARAMETERS,
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
        parameters_shift = const contract::PAGE_SIZE.ilog2(),
        clock_rate = const contract::CLOCK_RATE,
        clock_most = const contract::CLOCK_MOST,
        clock_rest = const contract::CLOCK_REST,
        clock_scale = const contract::CLOCK_SCALE,
        clock_origin = const contract::CLOCK_ORIGIN,
        mailbox_ready = const contract::MAILBOX_READY,
        stride = const Kind::Stride as u64,
        random = const Kind::Random as u64,
        hot_cold = const Kind::HotCold as u64,
        silent = const Kind::Silent as u64,
        gamma = const sequence::GAMMA,
        multiplier_1 = const sequence::MULTIPLIER_1,
        multiplier_2 = const sequence::MULTIPLIER_2,
        hot_below = const sequence::HOT_BELOW,
    )
}

// The guest stores its count to the mailbox's address as it is: a store-release takes no offset.
const _: () = assert!(contract::MAILBOX_WRITES == 0);

/// The code, made to be loaded anywhere on a page and entered at its first byte.
pub(super) fn code() -> &'static [u8; CODE_BYTES] {
    // SAFETY: guest.s has `code_bytes` initialised bytes there, in a read-only section of this program, which stays
    // mapped for as long as its functions can be called; nothing writes to them.
    unsafe { &*assembled() }
}
