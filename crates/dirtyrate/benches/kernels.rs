//! Every kernel over bitmaps, at every size and density, beside its references: `cargo bench -p dirtyrate --bench kernels`.
//! `DIRTYRATE_BACKEND` forces a backend. Throughput is of bitmap: 32 KiB are a GiB of guest.

mod common;
mod references;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::hint::black_box;

use dirtyrate::bitmap::{Kernels, Target};
use divan::Bencher;
use divan::counter::BytesCount;
use references::Density;

fn main() {
    println!("{}, backend {}", common::processor(), Kernels::get().backend());
    divan::main();
}

/// A bitmap to measure on.
#[derive(Clone, Copy)]
struct Case {
    bytes: usize,
    density: Density,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bytes >> 20 {
            0 => write!(f, "{} KiB, {}", self.bytes >> 10, self.density),
            mib => write!(f, "{mib} MiB, {}", self.density),
        }
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let densities = [
        Density::Random(0),
        Density::Random(1_000),
        Density::Random(10_000),
        Density::Random(100_000),
        Density::Regions(10_000),
        Density::Full,
    ];
    [32 << 10, 1 << 20, 32 << 20, 384 << 20]
        .into_iter()
        .flat_map(move |bytes| densities.map(|density| Case { bytes, density }))
}

/// The case's bitmap, made once: it is behind many rows.
fn words(case: Case) -> &'static [u64] {
    thread_local! {
        static MADE: RefCell<HashMap<String, &'static [u64]>> = RefCell::default();
    }
    let make = || &*references::bitmap(case.bytes, case.density).leak();
    MADE.with_borrow_mut(|made| *made.entry(case.to_string()).or_insert_with(make))
}

fn measure<T>(bencher: Bencher<'_, '_>, case: Case, mut kernel: impl FnMut(&[u64]) -> T) {
    let words = words(case);
    bencher.counter(BytesCount::new(case.bytes)).bench_local(|| kernel(black_box(words)));
}

mod limits {
    use super::*;

    #[divan::bench(args = cases())]
    fn read_only_stream(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, case, references::stream);
    }

    #[divan::bench(args = cases())]
    fn memcpy(bencher: Bencher<'_, '_>, case: Case) {
        let mut into = vec![1; case.bytes / 8];
        measure(bencher, case, |words| {
            into.copy_from_slice(words);
            black_box(&mut into);
        });
    }
}

mod count {
    use super::*;

    #[divan::bench(args = cases())]
    fn ours(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, case, |words| Kernels::get().count(words));
    }

    #[divan::bench(args = cases())]
    fn simd_popcnt(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, case, simd_popcnt::PopcntExt::popcnt);
    }

    #[divan::bench(args = cases())]
    fn count_ones(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, case, references::count_ones);
    }
}

/// Into three clients that have nothing yet, emptied before every sample.
mod merge {
    use super::*;

    #[divan::bench(args = cases(), sample_size = 1)]
    fn ours(bencher: Bencher<'_, '_>, case: Case) {
        let source = words(case);
        let clients = RefCell::new([(); 3].map(|()| vec![1; source.len()]));
        bencher
            .counter(BytesCount::new(case.bytes))
            .with_inputs(|| clients.borrow_mut().iter_mut().for_each(|words| words.fill(0)))
            .bench_local_values(|()| {
                let mut clients = clients.borrow_mut();
                let mut targets = clients.each_mut().map(|words| Target::new(words));
                Kernels::get().merge(black_box(source), &mut targets);
                targets.map(|target| target.newly())
            });
    }

    #[divan::bench(args = cases(), sample_size = 1)]
    fn qemu_shaped(bencher: Bencher<'_, '_>, case: Case) {
        let source = words(case);
        let mut maps = [(); 3].map(|()| references::map(source.len()));
        let maps = RefCell::new(&mut maps);
        bencher
            .counter(BytesCount::new(case.bytes))
            .with_inputs(|| maps.borrow_mut().iter_mut().flatten().for_each(|word| *word.get_mut() = 0))
            .bench_local_values(|()| references::qemu_shaped(black_box(source), &maps.borrow()));
    }
}

mod heat {
    use super::*;

    #[divan::bench(args = cases())]
    fn ours(bencher: Bencher<'_, '_>, case: Case) {
        let mut into = vec![1; case.bytes / 64];
        measure(bencher, case, |words| {
            Kernels::get().heat(words, 512, &mut into);
            black_box(&mut into);
        });
    }
}

/// Has what an iterator gives be used.
fn consume<T>(item: T) {
    black_box(item);
}

/// What a caller takes at a time, of positions or ranges.
const ROOM: usize = 16 << 10;

mod positions {
    use super::*;

    #[divan::bench(args = cases())]
    fn ours(bencher: Bencher<'_, '_>, case: Case) {
        let mut into = vec![1; ROOM];
        measure(bencher, case, |words| {
            let mut from = 0;
            loop {
                let filled = Kernels::get().positions(words, from, black_box(&mut into));
                if filled < ROOM {
                    break;
                }
                from = u64::from(into[ROOM - 1]) + 1;
            }
        });
    }

    #[divan::bench(args = cases())]
    fn cloud_hypervisor_shaped(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, case, |words| references::positions(words).for_each(consume));
    }
}

mod ranges {
    use super::*;

    #[divan::bench(args = cases())]
    fn ours(bencher: Bencher<'_, '_>, case: Case) {
        let mut into = vec![[1; 2]; ROOM];
        measure(bencher, case, |words| {
            let mut from = 0;
            loop {
                let filled = Kernels::get().ranges(words, from, black_box(&mut into));
                if filled < ROOM {
                    break;
                }
                from = into[ROOM - 1].map(u64::from).iter().sum();
            }
        });
    }

    #[divan::bench(args = cases())]
    fn cloud_hypervisor_shaped(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, case, |words| references::ranges(words).for_each(consume));
    }
}
