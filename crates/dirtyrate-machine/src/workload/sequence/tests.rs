use std::collections::BTreeSet;

use super::super::contract::PAGE_SIZE;
use super::super::replay::Seen;
use super::super::testing::Random;
use super::*;

fn sequence(kind: Kind, seed: u64, pieces: &[u64]) -> Sequence {
    let mut at = 0x20_0000;
    let segments = pieces
        .iter()
        .map(|&pages| {
            let segment = Segment { guest_address: at, pages, page_size: PAGE_SIZE };
            at = segment.end() + 5 * PAGE_SIZE + ((pages % 3) << 30);
            segment
        })
        .collect();
    Sequence::new(kind, seed, 3, segments)
}

#[test]
fn the_generator_is_splitmix64() {
    // The first outputs for the seed 1234567, as in other implementations' tests.
    let outputs =
        [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821];
    for (steps, output) in (1u64..).zip(outputs) {
        assert_eq!(mix(1234567 + steps.wrapping_mul(GAMMA)), output);
    }
}

/// A generator that carries its state along, and a walk over a list of addresses.
#[test]
fn pages_agree_with_code_that_keeps_state() {
    // Not a multiple of 10: 5 hot pages.
    let pieces = [7, 1, 31, 2];
    for kind in Kind::ALL {
        let sequence = sequence(kind, 99, &pieces);
        let list: Vec<u64> = sequence
            .segments
            .iter()
            .flat_map(|s| (0..s.pages).map(|page| s.guest_address + page * PAGE_SIZE))
            .collect();
        let mut state = sequence.seed();
        let mut walk = (0..list.len()).cycle();
        for index in 0..2000 {
            state = state.wrapping_add(GAMMA);
            let random = u128::from(mix(state));
            let number = match kind {
                Kind::Random => ((random * 41) >> 64) as usize,
                Kind::HotCold if random & 0xffff_ffff < 0xe666_6666 => ((random * 5) >> 64) as usize,
                Kind::HotCold => 5 + ((random * 36) >> 64) as usize,
                _ => walk.next().unwrap(),
            };
            assert_eq!(sequence.page(index), number as u64);
            assert_eq!(sequence.address(number as u64), list[number]);
        }
    }
}

/// The frames of the pages that these writes go to, in ascending order.
fn frames(sequence: &Sequence, writes: std::ops::Range<u64>) -> Vec<u64> {
    let mut seen = Seen::new(sequence.pages());
    assert!(sequence.add(writes, &mut seen, &mut || true));
    let frames: Vec<_> =
        (0..sequence.pages()).filter(|&page| seen.has(page)).map(|page| sequence.address(page) / PAGE_SIZE).collect();
    assert_eq!(seen.count(), frames.len() as u64);
    frames
}

#[test]
fn a_stretch_that_is_ended_early_says_so() {
    for kind in [Kind::Random, Kind::HotCold] {
        let sequence = sequence(kind, 5, &[1 << 20]);
        let mut looks = 0;
        let added = sequence.add(0..1 << 40, &mut Seen::new(1 << 20), &mut || {
            looks += 1;
            looks < 3
        });
        assert!(!added && looks == 3, "{kind}: {looks}");
        assert_eq!(sequence.last_writes(1 << 40, &mut || false), None);
    }
}

#[test]
fn frames_of_any_stretch_agree_with_a_set() {
    let mut random = Random(4);
    for kind in Kind::ALL {
        for pieces in [&[1][..], &[2], &[1, 1, 1], &[63, 64, 65], &[128], &[11, 300, 1]] {
            let sequence = sequence(kind, 5, pieces);
            for _ in 0..300 {
                let start = random.below(2000);
                let writes = start..start + random.below(3 * sequence.pages() + 2);
                let naive: BTreeSet<u64> = writes
                    .clone()
                    .filter(|_| kind != Kind::Idle)
                    .map(|index| sequence.address(sequence.page(index)) / PAGE_SIZE)
                    .collect();
                assert!(frames(&sequence, writes).into_iter().eq(naive), "{kind} {pieces:?}");
            }
        }
    }
}

#[test]
fn a_stretch_far_along_costs_no_more_than_a_near_one() {
    let sequence = sequence(Kind::Stride, 5, &[10]);
    let far = (1 << 55) - 3;
    let frames = frames(&sequence, far..far + 3);
    let mut naive: Vec<u64> = (far..far + 3).map(|index| sequence.address(index % 10) / PAGE_SIZE).collect();
    naive.sort();
    assert_eq!(frames, naive);
}

#[test]
fn last_writes_agree_with_a_replay_from_the_start() {
    for kind in Kind::ALL {
        for pieces in [&[1][..], &[3, 40], &[200]] {
            let sequence = sequence(kind, 6, pieces);
            let mut naive = vec![None; sequence.pages() as usize];
            for writes in 0..1000 {
                assert_eq!(sequence.last_writes(writes, &mut || true).as_ref(), Some(&naive), "{kind} {writes}");
                if kind != Kind::Idle {
                    naive[sequence.page(writes) as usize] = Some(writes);
                }
            }
        }
    }
}

#[test]
fn random_is_even_and_hot_cold_is_nine_to_one() {
    let writes = 200_000u64;
    for kind in [Kind::Random, Kind::HotCold] {
        let sequence = sequence(kind, 8, &[40, 60]);
        let mut counts = [0u64; 100];
        for index in 0..writes {
            counts[sequence.page(index) as usize] += 1;
        }
        for (page, count) in (0..).zip(counts) {
            let chance = match (kind, page < 10) {
                (Kind::Random, _) => 0.01,
                (_, true) => 0.9 / 10.0,
                (_, false) => 0.1 / 90.0,
            };
            // Six standard deviations of a binomial: one false alarm in half a billion pages, and
            // the seed is fixed.
            let (mean, deviation) = (writes as f64 * chance, (writes as f64 * chance * (1.0 - chance)).sqrt());
            assert!((count as f64 - mean).abs() < 6.0 * deviation, "{kind} {page}: {count}");
        }
    }
}

#[test]
fn vcpus_and_seeds_differ() {
    let seeds: BTreeSet<u64> = (0..50)
        .flat_map(|seed| (0..240).map(move |vcpu| (seed, vcpu)))
        .map(|(seed, vcpu)| Sequence::new(Kind::Random, seed, vcpu, vec![]).seed())
        .collect();
    assert_eq!(seeds.len(), 50 * 240);
}
