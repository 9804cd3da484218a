use super::super::contract::PAGE_SIZE;
use super::super::testing::{PAGE_SIZES, Random, ram, range};
use super::*;

fn addresses(segments: &[Segment]) -> Vec<u64> {
    segments
        .iter()
        .flat_map(|segment| (0..segment.pages).map(|page| segment.guest_address + page * PAGE_SIZE))
        .collect()
}

/// The RAM of each range, page by page, from `floor` up.
fn naive_free(ranges: &[RamRange], floor: u64) -> Vec<Vec<u64>> {
    ranges
        .iter()
        .map(|range| {
            (0..range.bytes / PAGE_SIZE)
                .map(|page| range.guest_address + page * PAGE_SIZE)
                .filter(|&address| address >= floor)
                .collect::<Vec<_>>()
        })
        .filter(|pages| !pages.is_empty())
        .collect()
}

fn random_ranges(random: &mut Random) -> Vec<RamRange> {
    let mut at = 0;
    (0..1 + random.below(8))
        .map(|_| {
            at += random.below(3) * random.below(1 << 20) * PAGE_SIZE;
            let range = range(at, 1 + random.below(200));
            at += range.bytes;
            range
        })
        .collect()
}

#[test]
fn packed_is_the_first_free_pages_in_order() {
    let mut random = Random(1);
    for _ in 0..60 {
        let ranges = random_ranges(&mut random);
        let floor = random.below(300) * PAGE_SIZE;
        let naive = naive_free(&ranges, floor).concat();
        let free = free(&ranges, floor, PAGE_SIZE);
        assert_eq!(addresses(&free), naive);
        for pages in 1..=naive.len() {
            let placed = place(&free, pages as u64, Placement::Packed).unwrap();
            assert_eq!(addresses(&placed), naive[..pages]);
        }
        assert_eq!(place(&free, naive.len() as u64 + 1, Placement::Packed), None);
    }
}

#[test]
fn spread_is_at_the_end_of_every_range_and_in_proportion() {
    let mut random = Random(2);
    for _ in 0..40 {
        let ranges = random_ranges(&mut random);
        let floor = random.below(300) * PAGE_SIZE;
        let naive = naive_free(&ranges, floor);
        let all = naive.concat().len();
        let free = free(&ranges, floor, PAGE_SIZE);
        for pages in 1..=all {
            let placed = addresses(&place(&free, pages as u64, Placement::Spread).unwrap());
            assert_eq!(placed.len(), pages);
            let mut expected: Vec<u64> = Vec::new();
            for range in &naive {
                let share = range.iter().filter(|page| placed.binary_search(page).is_ok()).count();
                if pages >= naive.len() {
                    let room = (all - naive.len()).max(1) as f64;
                    let exact = 1.0 + (pages - naive.len()) as f64 * (range.len() - 1) as f64 / room;
                    assert!((share as f64 - exact).abs() < 1.0, "{share} {exact}");
                }
                expected.extend(&range[range.len() - share..]);
            }
            assert_eq!(placed, expected);
        }
        assert_eq!(place(&free, all as u64 + 1, Placement::Spread), None);
    }
}

#[test]
fn even_is_spread_over_ranges_that_end_at_each_gib() {
    let cut = |range: &RamRange| {
        let (mut at, end) = (range.guest_address, range.guest_address + range.bytes);
        let mut parts = Vec::new();
        while at < end {
            let next = ((at >> 30 << 30) + GIB).min(end);
            parts.push(RamRange { guest_address: at, bytes: next - at });
            at = next;
        }
        parts
    };
    // A hole, ends that are no whole GiB, and a block that begins inside of one.
    let ranges = [range(0, 3 * (1 << 18) + 77), range(5 * GIB + (1 << 20), (1 << 18) + 1), range(9 * GIB, 12)];
    let parts: Vec<RamRange> = ranges.iter().flat_map(cut).collect();
    assert_eq!(parts.len(), 4 + 2 + 1);
    for pages in [1, 6, 7, 8, 1000, 654_321] {
        let floor = 0x400_0000;
        let even = place(&free(&ranges, floor, PAGE_SIZE), pages, Placement::Even).unwrap();
        let spread = place(&free(&parts, floor, PAGE_SIZE), pages, Placement::Spread).unwrap();
        assert_eq!(even, spread);
        assert_eq!(total(&even), pages);
    }
}

#[test]
fn shares_are_slices_of_the_page_list() {
    let mut random = Random(3);
    for _ in 0..500 {
        let free = free(&random_ranges(&mut random), 0, PAGE_SIZE);
        let pages = 1 + random.below(total(&free));
        let working_set = place(&free, pages, Placement::Packed).unwrap();
        let naive = addresses(&working_set);
        let vcpus = 1 + random.below(pages.min(240)) as u32;
        let split = shares(&working_set, vcpus, Sharing::Split);
        let n = u64::from(vcpus);
        for (k, share) in (0u64..).zip(&split) {
            let slice = &naive[(k * pages / n) as usize..((k + 1) * pages / n) as usize];
            assert_eq!(addresses(share), slice);
            assert!(!slice.is_empty());
        }
        for share in shares(&working_set, vcpus, Sharing::Shared) {
            assert_eq!(addresses(&share), naive);
        }
    }
}

#[test]
fn neighbouring_ranges_make_one_segment() {
    let placed = place(&free(&ram(), 0x400_0000, PAGE_SIZE), 132, Placement::Packed).unwrap();
    assert_eq!(placed, [Segment { guest_address: 0x400_0000, pages: 132, page_size: PAGE_SIZE }]);
}

#[test]
fn bad_ranges_are_refused_by_name() {
    let range = |guest_address, bytes| RamRange { guest_address, bytes };
    for (guest_address, bytes) in [(1, 4096), (4096, 4097), (0, 0), (512, 512)] {
        assert_eq!(
            checked(&[range(guest_address, bytes)], PAGE_SIZE),
            Err(WorkloadError::Unaligned { guest_address, bytes, page_size: PAGE_SIZE })
        );
    }
    assert_eq!(
        checked(&[range(0x8000, 0x1000), range(0, 0x9000)], PAGE_SIZE),
        Err(WorkloadError::Overlap { guest_address: 0x8000, end: 0x9000 })
    );
    for (guest_address, bytes) in [(MAX_ADDRESS, 4096), (4096, MAX_ADDRESS), (0, !0xfff), (!0xfff, 4096)] {
        assert_eq!(
            checked(&[range(guest_address, bytes)], PAGE_SIZE),
            Err(WorkloadError::OutOfReach { guest_address })
        );
    }
    assert!(checked(&[range(0, MAX_ADDRESS)], PAGE_SIZE).is_ok());
    let mut reversed = ram();
    reversed.reverse();
    assert_eq!(checked(&reversed, PAGE_SIZE), Ok(ram()));
}

/// The layout with larger pages is the layout with pages of 4 KiB, scaled.
#[test]
fn larger_pages_lie_like_small_ones() {
    let mut random = Random(9);
    for page_size in PAGE_SIZES {
        let times = page_size / PAGE_SIZE;
        for _ in 0..100 {
            let small = random_ranges(&mut random);
            let large: Vec<RamRange> = small
                .iter()
                .map(|range| RamRange { guest_address: range.guest_address * times, bytes: range.bytes * times })
                .collect();
            assert_eq!(checked(&large, page_size), Ok(large.clone()));
            let floor = random.below(300) * PAGE_SIZE;
            let free = [free(&small, floor, PAGE_SIZE), free(&large, floor * times, page_size)];
            let pages = 1 + random.below(total(&free[0]).max(1));
            for placement in [Placement::Packed, Placement::Spread] {
                let [small, large] = free.each_ref().map(|free| place(free, pages, placement).unwrap_or_default());
                let shares = [small, large].map(|placed| shares(&placed, 2, Sharing::Split).concat());
                let scaled: Vec<Segment> = shares[0]
                    .iter()
                    .map(|segment| Segment {
                        guest_address: segment.guest_address * times,
                        page_size,
                        pages: segment.pages,
                    })
                    .collect();
                assert_eq!(shares[1], scaled);
            }
        }
    }
    let odd = RamRange { guest_address: 0, bytes: 5 * 4096 };
    assert!(checked(&[odd], 16 << 10).is_err());
}
