//! Every kernel over bitmaps, at every size and density, beside its references:
//! `cargo bench -p dirtyrate --bench kernels`. `DIRTYRATE_BACKEND` forces a backend, `DIRTYRATE_HINTS` the hints.
//! Throughput is of bitmap: 32 KiB are a GiB of guest.

mod common;
mod references;

use std::fmt;
use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkGroup, Criterion, Throughput};
use dirtyrate::bitmap::{Kernels, Target};
use references::{Density, thread_time};

/// What a caller takes at a time, of positions or ranges.
const ROOM: usize = 16 << 10;

type Group<'a> = BenchmarkGroup<'a, ThreadTime>;

fn main() {
    println!("{}, backend {}, hints {}", common::processor(), Kernels::get().backend(), Kernels::get().hints());
    let mut criterion = Criterion::default()
        .with_measurement(ThreadTime)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
        .without_plots()
        .configure_from_args();
    for case in cases() {
        let words = references::bitmap(case.bytes, case.density);
        let mut group = criterion.benchmark_group(case.to_string());
        group.throughput(Throughput::Bytes(case.bytes as u64));
        limits(&mut group, &words);
        count(&mut group, &words);
        merge(&mut group, &words);
        heat(&mut group, &words);
        granules(&mut group, &words);
        positions(&mut group, &words);
        ranges(&mut group, &words);
        group.finish();
    }
    criterion.final_summary();
}

/// A bitmap to measure on.
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

fn row<T>(group: &mut Group<'_>, name: &str, words: &[u64], mut kernel: impl FnMut(&[u64]) -> T) {
    group.bench_function(name, |bencher| bencher.iter(|| kernel(black_box(words))));
}

fn limits(group: &mut Group<'_>, words: &[u64]) {
    row(group, "read-only stream", words, references::stream);
    let mut into = vec![1; words.len()];
    row(group, "memcpy", words, |words| {
        into.copy_from_slice(words);
        black_box(&mut into);
    });
}

fn count(group: &mut Group<'_>, words: &[u64]) {
    row(group, "count", words, |words| Kernels::get().count(words));
    row(group, "count, simd-popcnt", words, simd_popcnt::PopcntExt::popcnt);
    row(group, "count, count_ones for the baseline", words, references::count_ones);
}

/// Into three clients that have nothing yet, emptied before every round.
fn merge(group: &mut Group<'_>, source: &[u64]) {
    let mut clients = [(); 3].map(|()| vec![1; source.len()]);
    group.bench_function("merge", |bencher| {
        let clients = std::cell::RefCell::new(&mut clients);
        let empty = || clients.borrow_mut().iter_mut().for_each(|words| words.fill(0));
        let merge = |()| {
            let mut clients = clients.borrow_mut();
            let mut targets = clients.each_mut().map(|words| Target::new(words));
            Kernels::get().merge(black_box(source), &mut targets);
            targets.map(|target| target.newly())
        };
        bencher.iter_batched(empty, merge, BatchSize::PerIteration);
    });
    group.bench_function("merge, reads four and writes three", |bencher| {
        let clients = std::cell::RefCell::new(&mut clients);
        let empty = || clients.borrow_mut().iter_mut().for_each(|words| words.fill(0));
        let move_four = |()| {
            let mut clients = clients.borrow_mut();
            references::move_four(black_box(source), &mut clients.each_mut().map(|words| &mut words[..]));
        };
        bencher.iter_batched(empty, move_four, BatchSize::PerIteration);
    });
    drop(clients);
    let maps = [(); 3].map(|()| references::map(source.len()));
    group.bench_function("merge, QEMU-shaped", |bencher| {
        let empty = || references::empty(&maps);
        let merge = |()| references::qemu_shaped(black_box(source), &maps);
        bencher.iter_batched(empty, merge, BatchSize::PerIteration);
    });
}

fn heat(group: &mut Group<'_>, words: &[u64]) {
    let mut into = vec![1; words.len() / 8];
    row(group, "heat", words, |words| {
        Kernels::get().heat(words, 512, &mut into);
        black_box(&mut into);
    });
}

fn granules(group: &mut Group<'_>, words: &[u64]) {
    for (name, pages) in [("granules of 4 KiB", 1), ("granules of 64 KiB", 16), ("granules of 2 MiB", 512)] {
        row(group, name, words, |words| Kernels::get().granules(words, pages, 0));
    }
    // The slow path: granules that do not begin at word borders.
    row(group, "granules of 2 MiB, unaligned", words, |words| Kernels::get().granules(words, 512, 1));
}

fn positions(group: &mut Group<'_>, words: &[u64]) {
    let mut into = vec![1; ROOM];
    row(group, "positions", words, |words| {
        let mut from = 0;
        while Kernels::get().positions(words, from, black_box(&mut into)) == ROOM {
            from = u64::from(into[ROOM - 1]) + 1;
        }
    });
    row(group, "positions, Cloud-Hypervisor-shaped", words, |words| references::positions(words).for_each(consume));
}

fn ranges(group: &mut Group<'_>, words: &[u64]) {
    let mut into = vec![[1; 2]; ROOM];
    row(group, "ranges", words, |words| {
        let mut from = 0;
        while Kernels::get().ranges(words, from, black_box(&mut into)) == ROOM {
            from = into[ROOM - 1].map(u64::from).iter().sum();
        }
    });
    row(group, "ranges, Cloud-Hypervisor-shaped", words, |words| references::ranges(words).for_each(consume));
}

/// Has what an iterator gives be used.
fn consume<T>(item: T) {
    black_box(item);
}

/// This thread's own time: what others do on the machine meanwhile does not count.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, began: Duration) -> Duration {
        thread_time() - began
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        static DURATIONS: WallTime = WallTime;
        DURATIONS.formatter()
    }
}
