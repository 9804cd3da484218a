//! The numbers that both the `guest.s` of each architecture and the host know.

/// The size of a page of page tables, and the smallest size that a host's page can have.
pub(super) const PAGE_SIZE: u64 = 4096;

/// What one page directory maps.
pub(super) const GIB: u64 = 1 << 30;

/// The first address that four-level page tables cannot map one to one: the lower canonical half
/// ends here.
pub(super) const MAX_ADDRESS: u64 = 1 << 47;

/// Where the image is loaded, counted from the start of RAM: above the first MiB, which a PC's firmware and devices
/// use, and in which loaders put the device tree.
pub(super) const IMAGE_OFFSET: u64 = 0x10_0000;
/// How many vCPUs a guest can have. An xAPIC's 8-bit id names so many, without the ids that the architecture reserves.
/// On arm64 the limit is the same, so that a workload fits both.
pub(super) const MAX_VCPUS: u32 = 240;

/// Size of the code; `guest.s` does not assemble if it needs more.
pub(super) const CODE_BYTES: usize = PAGE_SIZE as usize;
// Offsets from the image's base.
pub(super) const HEADER: u64 = CODE_BYTES as u64;
pub(super) const PARAMETERS: u64 = HEADER + PAGE_SIZE;

// The header: 8-byte words.
pub(super) const HEADER_VCPUS: u64 = HEADER;
pub(super) const HEADER_KIND: u64 = HEADER + 8;
pub(super) const HEADER_ROOT: u64 = HEADER + 16;
pub(super) const HEADER_LINKS: u64 = HEADER + 24;
pub(super) const HEADER_LINK_COUNT: u64 = HEADER + 32;
pub(super) const HEADER_FIRST_ENTRIES: u64 = HEADER + 40;
pub(super) const HEADER_DIRECTORIES: u64 = HEADER + 48;
pub(super) const HEADER_DIRECTORY_COUNT: u64 = HEADER + 56;
/// The address to which a vCPU writes that has nothing to do, or 0.
pub(super) const HEADER_IDLE: u64 = HEADER + 64;
/// The host's page size, and its logarithm.
pub(super) const HEADER_PAGE_SIZE: u64 = HEADER + 72;
pub(super) const HEADER_PAGE_SHIFT: u64 = HEADER + 80;
/// x86-64: ticks of the TSC in a second. If this is 0, the guest finds the number and stores it here.
pub(super) const HEADER_TICKS: u64 = HEADER + 88;

// A vCPU's parameters: 8-byte words at these offsets, then two words for each segment in two
// tables.
pub(super) const MAILBOX: u64 = 0;
pub(super) const BUDGET: u64 = 8;
/// What is added to a write's index to get its value, or the value itself if it is always the same.
pub(super) const VALUE: u64 = 16;
pub(super) const SEED: u64 = 24;
pub(super) const SEGMENTS: u64 = 32;
/// From how many pages a random write chooses; with hot-cold, the number of hot pages.
pub(super) const PAGES: u64 = 40;
pub(super) const COLD_FIRST: u64 = 48;
pub(super) const COLD_PAGES: u64 = 56;
/// Paced by its clock: writes in a second, in units of 2^-32; otherwise 0.
pub(super) const CLOCK_RATE: u64 = 64;
/// How many writes it may be behind, at least 1.
pub(super) const CLOCK_MOST: u64 = 72;
/// 1 if the VMM rests when a vCPU says that it has nothing to do; otherwise the vCPU spins.
pub(super) const CLOCK_REST: u64 = 80;
/// Writes in a tick, in units of 2^-64, and the ticks at its start: 0 in the file, stored by the vCPU before it is
/// ready.
pub(super) const CLOCK_SCALE: u64 = 88;
pub(super) const CLOCK_ORIGIN: u64 = 96;
/// For a guest that walks: the address of the segment. For a guest that draws: the number of its first page.
pub(super) const SEGMENT_A: u64 = 112;
/// For a guest that walks: the address after the segment. For a guest that draws: what has to be added to (page number
/// * page size) to get an address.
pub(super) const SEGMENT_B: u64 = SEGMENT_A + 8 * MAX_SEGMENTS as u64;
/// Segments that a page of parameters has room for.
pub(super) const MAX_SEGMENTS: usize = (PAGE_SIZE - SEGMENT_A) as usize / 16;

// A mailbox: the number of writes made, in the low 56 bits of a word, and 1 once the vCPU is about
// to begin.
pub(super) const MAILBOX_WRITES: u64 = 0;
pub(super) const MAILBOX_READY: u64 = 8;
/// Where KVM stores its clock while an x86-64 guest boots that is paced by its own clock.
#[cfg(target_arch = "x86_64")]
pub(super) const MAILBOX_CLOCK: u64 = 64;

/// A budget that is never used up.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// I/O port that a vCPU writes one byte to, again and again, while its budget is used up: a hint
/// that it has nothing to do. A VMM may sleep there for a moment; one that ignores it gets a guest
/// that polls. Linux uses the port for delays (`io_delay=0xed`), because nothing answers there. x86-64 only.
pub const IDLE_PORT: u16 = 0xed;

/// The same for arm64, which has no ports: a guest physical address between 3 and 4 GiB. A guest whose RAM lies there
/// does not use it. If a VMM answers the write with an external abort, the guest goes on after it.
pub const IDLE_ADDRESS: u64 = 0xfe00_00ed;

/// A number of this copy of the crate, for the labels of `guest.s`: link-time optimization assembles every copy in a
/// program at once.
pub(super) const COPY: u64 = {
    // FNV-1a over the path and the version, which differ between any two copies.
    let place = concat!(env!("CARGO_MANIFEST_DIR"), env!("CARGO_PKG_VERSION")).as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < place.len() {
        hash = (hash ^ place[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
};
