//! The kernels over bitmaps against their targets, in seconds: `cargo bench -p dirtyrate --bench kernel_targets [-- --json]`.
//!
//! Ours and the reference take turns, so that a change of the machine's speed meets both; the ratio is the median of the rounds'
//! own, of speeds: over 1, ours is faster. With `--json`, a line for each target.

mod common;
mod references;

use std::hint::black_box;

use common::{Goal, Target as Row, asked_for, median};
use dirtyrate::bitmap::{Backend, Kernels, Target};
use references::{BYTES_PER_GUEST_GIB, Density, thread_time};

const MIB: usize = 1 << 20;
const DENSITY: Density = Density::Random(10_000);

fn main() {
    let json = asked_for("--json");
    if !json {
        println!("{}, backend {}, {DENSITY}", common::processor(), Kernels::get().backend());
    }
    let mut rows = Vec::new();
    for (mib, rounds) in [(32, 101), (384, 7)] {
        let words = references::bitmap(mib * MIB, DENSITY);
        rows.extend(counts(&words, rounds));
    }
    rows.push(merge(&references::bitmap(32 * MIB, DENSITY), 15));
    for row in rows {
        row.print(json);
    }
}

fn counts(words: &[u64], rounds: usize) -> [Row; 3] {
    let best = Kernels::get();
    let baseline = Kernels::new(Backend::Generic).expect("every CPU has it");
    let bytes = size_of_val(words);
    let row = |what: &str, target, ours: &dyn Fn(&[u64]) -> u64, reference: &dyn Fn(&[u64]) -> u64| {
        let (ours, reference, ratio) =
            in_turns(rounds, || time(|| ours(black_box(words))), || time(|| reference(black_box(words))));
        let gigabytes_per_second = |nanoseconds| bytes as f64 / nanoseconds;
        Row {
            name: format!("count, {} MiB, over {what}", bytes / MIB),
            ours: gigabytes_per_second(ours),
            reference: gigabytes_per_second(reference),
            unit: "GB/s",
            ratio,
            goal: Goal::AtLeast(target),
        }
    };
    [
        row("the read-only stream", 0.9, &|words| best.count(words), &references::stream),
        row("the simd-popcnt crate", 1.0, &|words| best.count(words), &simd_popcnt::PopcntExt::popcnt),
        row("count_ones, both compiled for the baseline", 1.0, &|words| baseline.count(words), &references::count_ones),
    ]
}

fn merge(source: &[u64], rounds: usize) -> Row {
    let mut clients = [(); 3].map(|()| vec![1; source.len()]);
    let maps = [(); 3].map(|()| references::map(source.len()));
    let (ours, reference, ratio) = in_turns(
        rounds,
        || {
            clients.iter_mut().for_each(|words| words.fill(0));
            let mut targets = clients.each_mut().map(|words| Target::new(words));
            time(|| Kernels::get().merge(black_box(source), &mut targets))
        },
        || {
            references::empty(&maps);
            time(|| references::qemu_shaped(black_box(source), &maps))
        },
    );
    let bytes = size_of_val(source);
    let per_gib = |nanoseconds| nanoseconds / 1000.0 / (bytes / BYTES_PER_GUEST_GIB) as f64;
    Row {
        name: format!("merge into 3 clients, {} MiB, over the QEMU-shaped loop", bytes / MIB),
        ours: per_gib(ours),
        reference: per_gib(reference),
        unit: "µs per GiB of guest",
        ratio,
        goal: Goal::AtLeast(8.0),
    }
}

/// The nanoseconds of this thread's own time that something takes: what others do on the machine meanwhile does not count.
fn time<T>(run: impl FnOnce() -> T) -> f64 {
    let began = thread_time();
    black_box(run());
    (thread_time() - began).as_nanos() as f64
}

/// The medians of two times, and of their ratios, after one round that does not count.
fn in_turns(rounds: usize, mut ours: impl FnMut() -> f64, mut reference: impl FnMut() -> f64) -> (f64, f64, f64) {
    let (mut times, mut references, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        // Who goes first alternates as well.
        let (our, their) = if round % 2 == 0 {
            let our = ours();
            (our, reference())
        } else {
            let their = reference();
            (ours(), their)
        };
        if round > 0 {
            times.push(our);
            references.push(their);
            ratios.push(their / our);
        }
    }
    (median(times), median(references), median(ratios))
}
