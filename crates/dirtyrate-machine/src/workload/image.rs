//! The image: where its parts lie, and what is baked into them. The layouts here are a contract
//! with the `guest.s` of each architecture, which gets every number from this file.
//!
//! ```text
//! 0x8000      x86-64: start of the other vCPUs (copied there by the first one; a page that nobody looks at again)
//! base        code                           1 page
//!             header                         1 page     what the boot needs
//!             parameters                     1 page for each vCPU
//!             tables to build                links and first entries of the page tables
//!             control                        1 page of the host's: a budget for each vCPU, written by the host
//!             ── end of the file's content ──
//!             mailboxes                      1 page of the host's for each vCPU, written by it
//!             page tables                    built at boot, never written again
//! next 2 MiB  the first page that the working set may have
//! ```
//!
//! The base is [`IMAGE_OFFSET`] above where the architecture has its RAM: `arch::ram_start`.

use std::collections::BTreeSet;

use super::layout::{self, GIB, PAGE_SIZE, Segment};
use super::page_tables::{PageTables, gibs};
use super::sequence::Sequence;
use super::{Kind, Pacing, Program, RamRange, Workload, WorkloadError, arch, clock, elf};

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
/// Writes in a tick, in units of 2^-64, and the ticks at its start: 0 in the file, stored by the vCPU before it is ready.
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

/// Addresses of the parts whose place depends on the workload.
#[derive(Clone, Debug)]
struct MemoryMap {
    base: u64,
    page_size: u64,
    vcpus: u64,
    tables: PageTables,
    links: u64,
    first_entries: u64,
    control: u64,
    mailboxes: u64,
    root: u64,
    end: u64,
}

impl MemoryMap {
    fn new(base: u64, page_size: u64, vcpus: u32, gibs: BTreeSet<u64>) -> Self {
        let vcpus = u64::from(vcpus);
        let tables = PageTables::new(gibs);
        let links = base + PARAMETERS + vcpus * PAGE_SIZE;
        let first_entries = links + tables.links() as u64 * 16;
        let control = (first_entries + tables.directories() * 8).next_multiple_of(page_size);
        let mailboxes = control + page_size;
        let root = mailboxes + vcpus * page_size;
        let end = (root + tables.bytes()).next_multiple_of(page_size);
        MemoryMap { base, page_size, vcpus, tables, links, first_entries, control, mailboxes, root, end }
    }

    /// The first address that the working set may have.
    fn floor(&self) -> u64 {
        self.end.next_multiple_of(2 << 20)
    }
}

/// Chooses the page tables and the working set together, because each depends on the other: more
/// tables make a longer image, which moves the working set up, perhaps into a GiB that needs one
/// more table. Tables are only ever added, so this ends.
fn settle(
    workload: &Workload,
    ranges: &[RamRange],
    page_size: u64,
) -> Result<(MemoryMap, Vec<Segment>), WorkloadError> {
    let base = arch::ram_start(ranges) + IMAGE_OFFSET;
    let mut needed: BTreeSet<u64> = arch::idle_address(ranges).into_iter().chain([base]).map(|at| at / GIB).collect();
    loop {
        let map = MemoryMap::new(base, page_size, workload.vcpus, needed.clone());
        let trampoline = arch::TRAMPOLINE.is_none_or(|page| layout::is_ram(ranges, page, page + PAGE_SIZE));
        if !layout::is_ram(ranges, base, map.end) || !trampoline {
            return Err(WorkloadError::ImageOutsideRam { start: base, end: map.end });
        }
        let free = layout::free(ranges, map.floor(), page_size);
        let Some(working_set) = layout::place(&free, workload.pages, workload.placement) else {
            return Err(WorkloadError::TooManyPages {
                pages: workload.pages,
                fit: surely_fit(base, page_size, workload.vcpus, ranges),
            });
        };
        let found = &(&gibs(&working_set) | &needed) | &(base / GIB..=(map.end - 1) / GIB).collect();
        if found == needed {
            return Ok((map, working_set));
        }
        needed = found;
    }
}

/// The room that is left when every GiB of RAM has its tables.
fn surely_fit(base: u64, page_size: u64, vcpus: u32, ranges: &[RamRange]) -> u64 {
    let idle = arch::idle_address(ranges).map(|at| at / GIB);
    let map = MemoryMap::new(
        base,
        page_size,
        vcpus,
        gibs(&layout::free(ranges, 0, page_size)).into_iter().chain(idle).collect(),
    );
    layout::total(&layout::free(ranges, map.floor(), page_size))
}

/// A guest, ready to be loaded: the file and what it will do.
#[derive(Clone, Debug)]
pub struct Image {
    elf: Vec<u8>,
    program: Program,
}

impl Image {
    /// The guest as an ELF file, all parameters inside: for PVH boot on x86-64, entered at its first byte on arm64.
    pub fn elf(&self) -> &[u8] {
        &self.elf
    }

    /// What the guest does, for comparison.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The file and the program.
    pub fn into_parts(self) -> (Vec<u8>, Program) {
        (self.elf, self.program)
    }

    /// Lays everything out and writes the file.
    pub(super) fn new(
        workload: &Workload,
        ram: &[RamRange],
        page_size: u64,
        code: &[u8; CODE_BYTES],
    ) -> Result<Self, WorkloadError> {
        let ranges = layout::checked(ram, page_size)?;
        let (map, working_set) = settle(workload, &ranges, page_size)?;
        let shares = layout::shares(&working_set, workload.vcpus, workload.sharing);
        if let Some((vcpu, share)) = (0..).zip(&shares).find(|(_, share)| share.len() > MAX_SEGMENTS) {
            return Err(WorkloadError::TooManySegments { vcpu, segments: share.len() });
        }
        let sequences =
            (0..).zip(shares).map(|(vcpu, share)| Sequence::new(workload.kind, workload.seed, vcpu, share)).collect();
        let program = Program::new(workload, sequences, page_size, map.control, map.mailboxes, map.base..map.end);
        let contents = contents(&map, &program, code, arch::idle_address(&ranges));
        let elf = elf::file(arch::ELF, map.base, &contents, map.end - map.base, map.base);
        Ok(Image { elf, program })
    }
}

/// The content from the image's base up to the mailboxes.
fn contents(map: &MemoryMap, program: &Program, code: &[u8; CODE_BYTES], idle_address: Option<u64>) -> Vec<u8> {
    let mut image = vec![0; (map.mailboxes - map.base) as usize];
    image[..CODE_BYTES].copy_from_slice(code);
    let mut store = |address: u64, value: u64| {
        let at = (address - map.base) as usize;
        image[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };

    let kind = program.kind();
    store(map.base + HEADER_VCPUS, map.vcpus);
    store(map.base + HEADER_KIND, kind as u64);
    store(map.base + HEADER_ROOT, map.root);
    store(map.base + HEADER_LINKS, map.links);
    store(map.base + HEADER_LINK_COUNT, map.tables.links() as u64);
    store(map.base + HEADER_FIRST_ENTRIES, map.first_entries);
    store(map.base + HEADER_DIRECTORIES, map.tables.first_directory(map.root));
    store(map.base + HEADER_DIRECTORY_COUNT, map.tables.directories());
    store(map.base + HEADER_PAGE_SIZE, map.page_size);
    store(map.base + HEADER_PAGE_SHIFT, map.page_size.ilog2().into());
    store(map.base + HEADER_IDLE, idle_address.unwrap_or(0));

    for (vcpu, sequence) in program.sequences() {
        let page = map.base + PARAMETERS + u64::from(vcpu) * PAGE_SIZE;
        store(page + MAILBOX, program.mailbox_page(vcpu));
        store(page + BUDGET, program.budget_address(vcpu));
        let first_value = program.value(vcpu, 0);
        store(
            page + VALUE,
            match kind {
                Kind::Silent => first_value,
                _ => first_value - 1,
            },
        );
        store(page + SEED, sequence.seed());
        let choice = sequence.choice();
        store(page + PAGES, choice.pages);
        store(page + COLD_FIRST, choice.cold_first);
        store(page + COLD_PAGES, choice.cold_pages);
        store(page + SEGMENTS, sequence.segments().len() as u64);
        for (number, (first, segment)) in (0..).zip(sequence.segments()) {
            let (a, b) = match kind {
                Kind::Random | Kind::HotCold => (first, segment.guest_address.wrapping_sub(first * segment.page_size)),
                Kind::Stride | Kind::Silent | Kind::Idle => (segment.guest_address, segment.end()),
            };
            store(page + SEGMENT_A + number * 8, a);
            store(page + SEGMENT_B + number * 8, b);
        }
        store(
            program.budget_address(vcpu),
            match program.pacing() {
                Pacing::Free | Pacing::Clock(_) => UNLIMITED,
                Pacing::Granted => 0,
            },
        );
        if let Pacing::Clock(clock) = program.pacing() {
            let rate = clock.rate_of_a_vcpu(map.page_size, program.vcpus());
            store(page + CLOCK_RATE, rate);
            store(page + CLOCK_MOST, clock::most_behind(rate));
            store(page + CLOCK_REST, clock.rests.into());
        }
    }
    if let Pacing::Clock(clock) = program.pacing() {
        store(map.base + HEADER_TICKS, clock.ticks_per_second.unwrap_or(0));
    }

    for (number, link) in (0..).zip(map.tables.link(map.root)) {
        store(map.links + number * 16, link.address);
        store(map.links + number * 16 + 8, link.value);
    }
    for (number, entry) in (0..).zip(map.tables.first_entries()) {
        store(map.first_entries + number * 8, entry);
    }
    image
}

#[cfg(test)]
mod tests;
