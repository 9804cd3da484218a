//! The image: where its parts lie, and what is baked into them. The numbers are in
//! `contract`, because the `guest.s` of each architecture knows them too.
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

use super::contract::{
    BUDGET, CLOCK_MOST, CLOCK_RATE, CLOCK_REST, CODE_BYTES, COLD_FIRST, COLD_PAGES, GIB, HEADER_DIRECTORIES,
    HEADER_DIRECTORY_COUNT, HEADER_FIRST_ENTRIES, HEADER_IDLE, HEADER_KIND, HEADER_LINK_COUNT, HEADER_LINKS,
    HEADER_PAGE_SHIFT, HEADER_PAGE_SIZE, HEADER_ROOT, HEADER_TICKS, HEADER_VCPUS, IMAGE_OFFSET, MAILBOX, MAX_SEGMENTS,
    PAGE_SIZE, PAGES, PARAMETERS, SEED, SEGMENT_A, SEGMENT_B, SEGMENTS, UNLIMITED, VALUE,
};
use super::error::WorkloadError;
use super::kind::{Kind, Pacing};
use super::layout::{self, Segment};
use super::page_tables::{PageTables, gibs};
use super::program::Program;
use super::ram::RamRange;
use super::sequence::Sequence;
use super::spec::Workload;
use super::{arch, clock, elf};

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
            return Err(WorkloadError::ImageOutsideRam { start: base, end: map.end, trampoline: arch::TRAMPOLINE });
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

impl Workload {
    /// Builds the guest for a VM with this RAM, given in any order. The VM may have more RAM than is given here, but
    /// not less.
    ///
    /// The image takes the RAM from 1 MiB on, and on x86-64 the page at 0x8000; the working set is above it. On arm64,
    /// where RAM is elsewhere on each machine, these count from the lowest address that is given.
    ///
    /// `page_size` is the page size of the host that will run the guest, because a dirty log has one bit for each of
    /// the host's pages, and the guest writes to each of them at most once in a pass. It is 4096 on x86-64, and 4096,
    /// 16384 or 65536 on arm64.
    pub fn build(&self, ram: &[RamRange], page_size: u64) -> Result<Image, WorkloadError> {
        self.check()?;
        if !arch::PAGE_SIZES.contains(&page_size) {
            return Err(WorkloadError::PageSize { page_size });
        }
        Image::new(self, ram, page_size, arch::code())
    }
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
