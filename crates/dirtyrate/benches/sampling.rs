//! What a pass over the samples costs, beside reading the same pages:
//!
//! ```text
//! cargo bench -p dirtyrate --bench sampling [-- GIB]
//! cargo bench -p dirtyrate --bench sampling -- --quick [--json]     the target, of 2 GiB
//! ```
//!
//! Every order looks at the same pages, one in each 2 MiB of memory that is all touched, each round at other ones.
//! Rounds alternate between the rows, so that a change of the machine's speed meets all of them; a row is its median. 4
//! GiB of memory, or as much as asked for, is many times what a cache holds between two rounds.

mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use common::{Goal, Target, asked_for, median};
use dirtyrate::sampling::{Contents, GuestMemoryReader, Look, PageBlock, PageReader, Plan, PlanOptions, Sampling};
use dirtyrate::{BlockId, BlockInfo, CancelToken};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

const PAGE: u64 = 4096;
const ROUNDS: u64 = 31;
const ROWS: [&str; 8] = [
    "read, sorted: a copy of each page and nothing else",
    "read, shuffled",
    "our comparison: sorted, prefetched, hashed",
    "our reader and no hash: sorted, prefetched",
    "our reader and hash, shuffled",
    "our first look: asks which pages are touched",
    "our comparison, nothing fetched ahead",
    "our comparison, the whole next page fetched ahead",
];

fn main() {
    let (quick, json) = (asked_for("--quick"), asked_for("--json"));
    let gib = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(if quick { 2 } else { 4 });
    if !json {
        println!("{}", common::processor());
    }
    for (name, advice) in [("4 KiB pages", libc::MADV_NOHUGEPAGE), ("transparent huge pages", libc::MADV_HUGEPAGE)] {
        let rows = measure(gib, advice);
        if !json {
            println!("\n{gib} GiB, {name}: ns per page, median of {ROUNDS} rounds");
            for (row, name) in rows.iter().zip(ROWS) {
                println!("{row:8.0}   {:5.2} × reading   {name}", row / rows[0]);
            }
        }
        let (ours, reference) = (rows[2], rows[0]);
        let name = format!("page sampling, a comparison of {gib} GiB, {name}, over reading those pages");
        let goal = Goal::AtMost(1.5);
        Target { name, ours, reference, unit: "ns per page", ratio: ours / reference, goal }.print(json);
    }
}

fn measure(gib: u64, advice: i32) -> [f64; ROWS.len()] {
    let memory = Arc::new(touched_memory(gib << 30, advice));
    let block = BlockInfo { id: BlockId(0), name: "ram".to_owned(), guest_address: 0, pages: (gib << 30) / PAGE };
    let reader = || GuestMemoryReader::new(Arc::clone(&memory), std::slice::from_ref(&block), PAGE).expect("a reader");
    let blocks = [PageBlock::from(&block)];
    let cancel = CancelToken::new();
    let others: Vec<_> = (0..block.pages).step_by(8).collect();
    let mut times: [Vec<f64>; ROWS.len()] = Default::default();
    for round in 0..ROUNDS * ROWS.len() as u64 {
        let row = (round % ROWS.len() as u64) as usize;
        let plan = Plan::new(&blocks, PAGE, PlanOptions::default().with_seed(round)).expect("a plan");
        let samples = plan.samples() as f64;
        let mut pages = plan.blocks()[0].clone();
        if matches!(row, 1 | 4) {
            shuffle(&mut pages, round);
        }
        let comparing = match row {
            2 => Some(reader()),
            6 => Some(reader().fetching_ahead(0)),
            7 => Some(reader().fetching_ahead(PAGE as usize / 64)),
            _ => None,
        };
        let mut sampling =
            comparing.map(|reader| Sampling::begin(reader, plan.clone(), &cancel).expect("a first look"));
        // Before each row alike, other pages go through the caches, as they do in a window of time.
        read(&memory, &others);
        let looks: Vec<_> = pages.iter().map(|&page| Look { page, touched: true }).collect();
        let took = match row {
            0 | 1 => {
                let began = Instant::now();
                read(&memory, &pages);
                began.elapsed()
            }
            2 | 6 | 7 => sampling.as_mut().expect("begun").compare(&cancel).expect("a comparison").took,
            3 => {
                let mut reader = reader();
                let began = Instant::now();
                for batch in looks.chunks(64) {
                    let look = &mut |_: usize, contents: Contents<'_>| {
                        black_box(contents);
                    };
                    reader.read(0, batch, look).expect("pages");
                }
                began.elapsed()
            }
            4 => {
                let mut reader = reader();
                let began = Instant::now();
                for look in &looks {
                    let hash = &mut |_: usize, contents: Contents<'_>| match contents {
                        Contents::Bytes(bytes) => {
                            black_box(twox_hash::XxHash3_64::oneshot(bytes));
                        }
                        Contents::Untouched | Contents::NotInMemory => unreachable!("all is touched"),
                    };
                    reader.read(0, std::slice::from_ref(look), hash).expect("pages");
                }
                began.elapsed()
            }
            _ => Sampling::begin(reader(), plan, &cancel).expect("a first look").first_pass(),
        };
        times[row].push(took.as_nanos() as f64 / samples);
    }
    times.map(median)
}

/// Reading those pages: the least that any look at them costs.
fn read(memory: &GuestMemoryMmap, pages: &[u64]) {
    let mut into = [0_u8; PAGE as usize];
    for page in pages {
        memory.read_slice(&mut into, GuestAddress(page * PAGE)).expect("in memory");
        black_box(&into);
    }
}

fn touched_memory(bytes: u64, advice: i32) -> GuestMemoryMmap {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), bytes as usize)]).expect("memory");
    for region in memory.iter() {
        // SAFETY: the advice is about pages of our own mapping, and changes no contents.
        unsafe { libc::madvise(region.as_ptr().cast(), region.len() as usize, advice) };
    }
    for page in 0..bytes / PAGE {
        memory.write_slice(&[page as u8 | 1; 64], GuestAddress(page * PAGE)).expect("in memory");
    }
    memory
}

fn shuffle(pages: &mut [u64], seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for i in (1..pages.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        pages.swap(i, (state % (i as u64 + 1)) as usize);
    }
}
