#[cfg(target_arch = "aarch64")]
use super::super::contract::IDLE_ADDRESS;
use super::super::testing::{PAGE_SIZES, Random, build, build_for, ram, ram_in, range, workloads};
use super::super::{Clock, Placement, Sharing};
use super::*;

fn example() -> Workload {
    Workload {
        kind: Kind::Stride,
        pages: 100,
        vcpus: 1,
        sharing: Sharing::Split,
        placement: Placement::Packed,
        pacing: Pacing::Free,
        seed: 0,
    }
}

/// What a loader puts into memory.
struct Loaded {
    base: u64,
    bytes: Vec<u8>,
    memory_bytes: u64,
}

impl Loaded {
    fn new(image: &Image) -> Self {
        let word = |at: usize| u64::from_le_bytes(image.elf()[at..at + 8].try_into().unwrap());
        Loaded {
            base: word(64 + 24),
            bytes: image.elf()[word(64 + 8) as usize..].to_vec(),
            memory_bytes: word(64 + 40),
        }
    }

    fn word(&self, address: u64) -> u64 {
        let at = (address - self.base) as usize;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    /// The address of a write's page by the vCPU's baked parameters, the way `guest.s` finds it.
    fn page(&self, kind: Kind, vcpu: u32, number: u64) -> u64 {
        let page = self.base + PARAMETERS + u64::from(vcpu) * PAGE_SIZE;
        let segments = (0..self.word(page + SEGMENTS))
            .map(|k| (self.word(page + SEGMENT_A + 8 * k), self.word(page + SEGMENT_B + 8 * k)));
        match kind {
            Kind::Random | Kind::HotCold => {
                let (_, delta) = segments.rev().find(|(first, _)| *first <= number).unwrap();
                (number << self.word(self.base + HEADER_PAGE_SHIFT)).wrapping_add(delta)
            }
            _ => {
                let page_size = self.word(self.base + HEADER_PAGE_SIZE) as usize;
                segments.flat_map(|(from, to)| (from..to).step_by(page_size)).nth(number as usize).unwrap()
            }
        }
    }
}

#[test]
fn what_is_baked_is_what_the_host_replays() {
    for (at, workload) in workloads(1234).into_iter().enumerate() {
        let page_size = PAGE_SIZES[at % PAGE_SIZES.len()];
        let image = build_for(&workload, &ram_in(page_size), page_size).unwrap();
        let (loaded, program) = (Loaded::new(&image), image.program());
        assert_eq!(loaded.word(loaded.base + HEADER_PAGE_SIZE), page_size);
        assert_eq!(loaded.word(loaded.base + HEADER_VCPUS), u64::from(workload.vcpus));
        assert_eq!(loaded.word(loaded.base + HEADER_KIND), workload.kind as u64);
        for (vcpu, sequence) in program.sequences() {
            let page = loaded.base + PARAMETERS + u64::from(vcpu) * PAGE_SIZE;
            for number in (0..sequence.pages()).step_by(3) {
                assert_eq!(loaded.page(workload.kind, vcpu, number), sequence.address(number));
            }
            assert_eq!(loaded.word(page + MAILBOX), program.mailbox_page(vcpu));
            assert_eq!(loaded.word(page + BUDGET), program.budget_address(vcpu));
            assert_eq!(loaded.word(page + SEED), sequence.seed());
            let counts = u64::from(workload.kind != Kind::Silent);
            assert_eq!(loaded.word(page + VALUE) + counts, program.value(vcpu, 0));
            assert_ne!(program.value(vcpu, 0), 0);
            assert_eq!(program.value(vcpu, 9), program.value(vcpu, 0) + 9 * counts);
            let budget = match workload.pacing {
                Pacing::Free | Pacing::Clock(_) => u64::MAX,
                Pacing::Granted => 0,
            };
            assert_eq!(loaded.word(program.budget_address(vcpu)), budget);
        }
    }
}

#[test]
fn the_parts_are_in_order_and_the_working_set_is_clear_of_them() {
    for (at, mut workload) in workloads(1234).into_iter().enumerate() {
        let page_size = PAGE_SIZES[at % PAGE_SIZES.len()];
        let ram = ram_in(page_size);
        for vcpus in [workload.vcpus, 240] {
            workload.vcpus = vcpus;
            let image = build_for(&workload, &ram, page_size).unwrap();
            let (loaded, program) = (Loaded::new(&image), image.program());
            let end = loaded.base + loaded.memory_bytes;
            let links = loaded.word(loaded.base + HEADER_LINKS);
            let starts = [
                loaded.base + PARAMETERS + u64::from(vcpus) * PAGE_SIZE,
                links + loaded.word(loaded.base + HEADER_LINK_COUNT) * 16,
                loaded.word(loaded.base + HEADER_FIRST_ENTRIES) + loaded.word(loaded.base + HEADER_DIRECTORY_COUNT) * 8,
                program.control_page() + page_size,
                program.mailbox_page(vcpus - 1) + page_size,
                loaded.word(loaded.base + HEADER_ROOT) + PAGE_SIZE,
                loaded.word(loaded.base + HEADER_DIRECTORIES),
            ];
            assert!(starts.is_sorted(), "{starts:x?}");
            assert_eq!(program.mailbox_page(0), loaded.base + loaded.bytes.len() as u64);
            let tables = loaded.word(loaded.base + HEADER_DIRECTORY_COUNT) * PAGE_SIZE;
            let end_of_tables = loaded.word(loaded.base + HEADER_DIRECTORIES) + tables;
            assert_eq!(end_of_tables.next_multiple_of(page_size), end);
            let first_entries = loaded.word(loaded.base + HEADER_FIRST_ENTRIES);
            let mapped: BTreeSet<u64> = (0..loaded.word(loaded.base + HEADER_DIRECTORY_COUNT))
                .map(|k| loaded.word(first_entries + 8 * k) / GIB)
                .collect();
            assert!(mapped.contains(&0));
            for (_, sequence) in program.sequences() {
                for number in 0..sequence.pages() {
                    let address = sequence.address(number);
                    assert!(address >= end.next_multiple_of(2 << 20));
                    assert!(layout::is_ram(&ram, address, address + page_size));
                    assert!(mapped.contains(&(address / GIB)));
                }
            }
        }
    }
}

#[test]
fn a_clocks_rate_is_baked_for_each_vcpu() {
    let clock = Clock { bytes_per_second: 100 << 20, ticks_per_second: Some(2_600_000_000), rests: true };
    let workload = Workload { pacing: Pacing::Clock(clock), vcpus: 2, ..example() };
    let loaded = Loaded::new(&build(&workload, &ram()).unwrap());
    assert_eq!(loaded.word(loaded.base + HEADER_TICKS), 2_600_000_000);
    for vcpu in 0..2 {
        let page = loaded.base + PARAMETERS + vcpu * PAGE_SIZE;
        assert_eq!(loaded.word(page + CLOCK_RATE), 12_800 << 32, "half of 25,600 pages in a second");
        assert_eq!(loaded.word(page + CLOCK_MOST), 12_800);
        assert_eq!(loaded.word(page + CLOCK_REST), 1);
        assert_eq!(loaded.word(loaded.word(page + BUDGET)), UNLIMITED, "no budget holds it");
    }
    // Any other guest has no clock.
    let loaded = Loaded::new(&build(&Workload { vcpus: 2, ..example() }, &ram()).unwrap());
    assert_eq!(loaded.word(loaded.base + PARAMETERS + CLOCK_RATE), 0);
}

#[test]
fn the_order_of_the_ranges_does_not_matter() {
    for workload in workloads(500) {
        let mut reversed = ram();
        reversed.reverse();
        let images = [ram(), reversed].map(|ram| build(&workload, &ram).unwrap());
        assert_eq!(images[0].elf(), images[1].elf());
    }
}

#[test]
fn a_sparse_giant_costs_tables_only_where_it_is_touched() {
    let ram = [range(0, 786_432), range(4 << 30, 4 << 28)];
    let spread = Workload { placement: Placement::Spread, ..example() };
    for workload in [example(), spread] {
        let loaded = Loaded::new(&build(&workload, &ram).unwrap());
        assert!(loaded.memory_bytes < 64 << 10, "{}", loaded.memory_bytes);
    }
}

/// The places of tables, image and working set are found even if more tables push the working set into the next GiB.
#[test]
fn the_number_that_is_said_to_fit_fits() {
    let mut random = Random(5);
    for _ in 0..60 {
        let ram: Vec<RamRange> = [range(0, 520 + random.below(300_000))]
            .into_iter()
            .chain((1..random.below(5)).map(|k| range(k << 40, 1 + random.below(700_000))))
            .collect();
        for placement in Placement::ALL {
            let greedy = Workload { placement, pages: u64::MAX, ..example() };
            match build(&greedy, &ram) {
                Err(WorkloadError::TooManyPages { pages, fit }) => {
                    assert_eq!(pages, u64::MAX);
                    let workload = Workload { pages: fit, ..greedy };
                    if fit == 0 {
                        assert_eq!(build(&workload, &ram).unwrap_err(), WorkloadError::NoPages);
                    } else {
                        build(&workload, &ram).unwrap();
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_built_is_refused() {
    let refused = |workload: Workload, ram: &[RamRange]| build(&workload, ram).unwrap_err();
    let ram = [range(0, 4096)];
    for vcpus in [0, 241, u32::MAX] {
        let workload = Workload { vcpus, ..example() };
        assert_eq!(refused(workload, &ram), WorkloadError::VcpusOutOfRange { vcpus });
    }
    let workload = Workload { pages: 0, ..example() };
    assert_eq!(refused(workload, &ram), WorkloadError::NoPages);
    let workload = Workload { pages: 3, vcpus: 4, ..example() };
    assert_eq!(refused(workload, &ram), WorkloadError::MoreVcpusThanPages { vcpus: 4, pages: 3 });
    let shared = Workload { sharing: Sharing::Shared, ..workload };
    assert!(build(&shared, &ram).is_ok());
    let workload = Workload { pages: 4096 - 511, ..example() };
    assert_eq!(refused(workload, &ram), WorkloadError::TooManyPages { pages: 3585, fit: 3584 });
    let on_a_pc = [&[range(0x10_0000, 4096)][..], &[range(0, 8), range(0x9000, 4096)], &[range(4 << 30, 4096)]];
    let on_a_pc = if arch::TRAMPOLINE.is_some() { &on_a_pc[..] } else { &[] };
    for ram in [&[][..], &[range(0, 257)], &[range(0, 256), range(0x20_0000, 4096)]].iter().chain(on_a_pc) {
        assert!(matches!(refused(example(), ram), WorkloadError::ImageOutsideRam { start: 0x10_0000, .. }), "{ram:?}");
    }
}

/// QEMU's `virt` has its RAM from 1 GiB on, Firecracker from 2 GiB.
#[cfg(target_arch = "aarch64")]
#[test]
fn the_image_is_where_the_ram_is() {
    for start in [0, 1 << 30, 2 << 30, 3 << 30] {
        let image = example().build(&[range(start + (5 << 30), 1000), range(start, 262_144)], 4096).unwrap();
        let loaded = Loaded::new(&image);
        assert_eq!(loaded.base, start + 0x10_0000);
        assert!(image.program().page(0, 0) > start);
        let idle = loaded.word(loaded.base + HEADER_IDLE);
        assert_eq!(idle, if start == 3 << 30 { 0 } else { IDLE_ADDRESS }, "{start:#x}");
    }
}

#[test]
fn a_share_in_too_many_pieces_is_refused() {
    let ram: Vec<RamRange> =
        std::iter::once(range(0, 1024)).chain((1..300).map(|k| range((1 << 30) + k * 0x3000, 2))).collect();
    let workload = Workload { pages: 300, placement: Placement::Spread, ..example() };
    assert_eq!(build(&workload, &ram).unwrap_err(), WorkloadError::TooManySegments { vcpu: 0, segments: 300 });
    // Each piece is one page at the end of its block; two vCPUs share them out.
    assert!(build(&Workload { vcpus: 2, ..workload }, &ram).is_ok());
    assert!(build(&workload, &ram[..MAX_SEGMENTS]).is_ok());
}

#[test]
fn the_code_is_in_the_image() {
    let image = example().build(&ram(), 4096).unwrap();
    let code = &Loaded::new(&image).bytes[..CODE_BYTES];
    // Its first byte is the entry: cli and cld, or msr daifset, #15. The page ends in padding: hlt, or udf.
    let (first, last) = if cfg!(target_arch = "x86_64") { (0x6d89_fcfa, 0xf4) } else { (0xd503_4fdf, 0) };
    let mask = if cfg!(target_arch = "x86_64") { 0xffff } else { u32::MAX };
    assert_eq!(u32::from_le_bytes(code[..4].try_into().unwrap()) & mask, first & mask);
    assert_eq!(code[CODE_BYTES - 16..], [last; 16]);
}
