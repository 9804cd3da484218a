//! What an entry of a dirty ring costs on its way into a page set, beside a loop that only reads entries and hands them
//! back.
//!
//! ```text
//! cargo bench -p dirtyrate --bench rings                     the table
//! cargo bench -p dirtyrate --bench rings -- --quick [--json] what the target needs
//! ```
//!
//! The ring is memory of this process, of the size and with the protocol of the kernel's; nobody writes it meanwhile.
//! Each row is the median of its rounds. A round fills the ring, empties it by the one loop, fills it again with the
//! same entries, and empties it by the other.

mod common;

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use common::{Goal, Target, asked_for, median, processor};
use dirtyrate::bitmap::SparsePages;

/// The most entries that a kernel gives a ring.
const ENTRIES: usize = 65_536;
const PAGES_PER_GIB: u64 = 1 << 18;
const DIRTY: u32 = 1;
const RESET: u32 = 2;

/// As `struct kvm_dirty_gfn`.
#[repr(C)]
struct Entry {
    flags: AtomicU32,
    slot: u32,
    offset: u64,
}

struct Ring(Vec<Entry>);

impl Ring {
    fn new() -> Self {
        Self((0..ENTRIES).map(|_| Entry { flags: AtomicU32::new(0), slot: 0, offset: 0 }).collect())
    }

    fn fill(&mut self, pages: &[u64]) {
        for (entry, page) in self.0.iter_mut().zip(pages) {
            (entry.slot, entry.offset) = (3, *page);
            entry.flags.store(DIRTY, Ordering::Release);
        }
    }

    /// Reads all entries and hands them back; ns for each.
    fn empty(&self, mut take: impl FnMut(u32, u64)) -> f64 {
        let began = Instant::now();
        for entry in &self.0 {
            if entry.flags.load(Ordering::Acquire) & DIRTY == 0 {
                break;
            }
            take(entry.slot, entry.offset);
            entry.flags.store(RESET, Ordering::Release);
        }
        began.elapsed().as_secs_f64() * 1e9 / ENTRIES as f64
    }
}

/// A generator of numbers that look random: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(end)) >> 64) as u64
    }
}

/// Which page the entry number `i` of a round names.
type Pages = fn(&mut Numbers, u64) -> u64;

const PATTERNS: [(&str, Pages); 5] = [
    ("one page after the other", |_, i| i),
    ("every 16th page of 4 GiB", |_, i| i * 16 % (4 * PAGES_PER_GIB)),
    ("random pages of 1 GiB", |numbers, _| numbers.below(PAGES_PER_GIB)),
    ("random pages of 64 GiB", |numbers, _| numbers.below(64 * PAGES_PER_GIB)),
    ("90 % in 16 MiB, else in 1 GiB", |numbers, _| {
        let end = if numbers.below(10) > 0 { 4096 } else { PAGES_PER_GIB };
        numbers.below(end)
    }),
];

fn main() {
    let (quick, json) = (asked_for("--quick"), asked_for("--json"));
    let rounds = if quick { 25 } else { 101 };
    if !json {
        println!("{}", processor());
        println!(
            "an entry, ns                      read and reset   into a page set   the set's part   a hash map's part"
        );
    }
    let mut ring = Ring::new();
    for (name, page_of) in PATTERNS {
        let (mut alone, mut with, mut hashed) = (Vec::new(), Vec::new(), Vec::new());
        // The sets are as those of a VM: they keep their room from window to window.
        let (mut set, mut map) = (SparsePages::default(), HashMap::<u64, [u64; 8]>::new());
        let mut numbers = Numbers(1);
        for _ in 0..rounds {
            let pages: Vec<u64> = (0..ENTRIES as u64).map(|i| page_of(&mut numbers, i)).collect();
            ring.fill(&pages);
            let mut sum = 0;
            alone.push(ring.empty(|slot, page| sum ^= u64::from(slot) ^ page));
            black_box(sum);
            ring.fill(&pages);
            set.clear();
            with.push(ring.empty(|_, page| {
                set.try_insert(page).expect("memory");
            }));
            ring.fill(&pages);
            map.clear();
            hashed.push(ring.empty(|_, page| {
                map.entry(page / 512).or_default()[(page % 512 / 64) as usize] |= 1 << (page % 64);
            }));
            assert_eq!(map.values().flatten().map(|word| u64::from(word.count_ones())).sum::<u64>(), set.len());
        }
        let (alone, with, hashed) = (median(alone), median(with), median(hashed));
        if !json {
            println!("{name:33} {alone:14.1} {with:17.1} {:16.1} {:19.1}", with - alone, hashed - alone);
        }
        Target {
            name: format!("a ring entry into its page set, {name}, over 10 ns"),
            ours: with - alone,
            reference: 10.0,
            unit: "ns",
            ratio: (with - alone) / 10.0,
            goal: Goal::AtMost(1.0),
        }
        .print(json);
    }
}
