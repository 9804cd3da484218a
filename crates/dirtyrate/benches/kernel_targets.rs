//! The kernels over bitmaps against their targets, in seconds:
//! `cargo bench -p dirtyrate --bench kernel_targets [-- --json]`.
//!
//! Ours and the reference take turns, so that a change of the machine's speed meets both; the ratio is the median of
//! the rounds' own, of speeds: over 1, ours is faster. With `--json`, a line for each target.

mod common;
mod references;

use std::cell::RefCell;
use std::hint::black_box;

use common::{Goal, Target as Row, asked_for, median};
use dirtyrate::bitmap::{Backend, Hints, Kernels, Target};
use references::{BYTES_PER_GUEST_GIB, Density, thread_time};

const MIB: usize = 1 << 20;
const DENSITY: Density = Density::Random(10_000);

fn main() {
    let json = asked_for("--json");
    if !json {
        let (kernels, auto) = (Kernels::get(), Hints::for_this_cpu());
        println!("{}", common::processor());
        println!(
            "backend {}, hints {} (this processor's own choice: {auto}), {DENSITY}",
            kernels.backend(),
            kernels.hints()
        );
    }
    let mut rows = Vec::new();
    for (mib, rounds) in [(32, 101), (384, 7)] {
        let words = references::bitmap(mib * MIB, DENSITY);
        rows.extend(counts(&words, rounds));
    }
    rows.extend(merges(&references::bitmap(32 * MIB, DENSITY), 31));
    rows.push(heat(&references::bitmap(32 * MIB, DENSITY), 31));
    for row in rows {
        row.print(json);
    }
}

fn counts(words: &[u64], rounds: usize) -> [Row; 4] {
    let best = Kernels::get();
    let baseline = Kernels::new(Backend::Generic, best.hints()).expect("every CPU has it");
    let bytes = size_of_val(words);
    let row = |what: &str, goal, ours: &dyn Fn(&[u64]) -> u64, reference: &dyn Fn(&[u64]) -> u64| {
        let (ours, reference, ratio) =
            in_turns(rounds, || time(|| ours(black_box(words))), || time(|| reference(black_box(words))));
        let gigabytes_per_second = |nanoseconds| bytes as f64 / nanoseconds;
        Row {
            name: format!("count, {} MiB, over {what}", bytes / MIB),
            ours: gigabytes_per_second(ours),
            reference: gigabytes_per_second(reference),
            unit: "GB/s",
            ratio,
            goal,
        }
    };
    let other = other_hints();
    [
        row("the read-only stream", Goal::AtLeast(0.9), &|words| best.count(words), &references::stream),
        row("the simd-popcnt crate", Goal::AtLeast(1.0), &|words| best.count(words), &simd_popcnt::PopcntExt::popcnt),
        row(&format!("the same with hints {}", other.hints()), Goal::Stated, &|words| best.count(words), &|words| {
            other.count(words)
        }),
        row(
            "count_ones, both compiled for the baseline",
            Goal::AtLeast(1.0),
            &|words| baseline.count(words),
            &references::count_ones,
        ),
    ]
}

/// The kernels that are not in use: those that hint, or those that do not.
fn other_hints() -> &'static Kernels {
    let used = Kernels::get();
    let hints = if used.hints() == Hints::On { Hints::Off } else { Hints::On };
    Kernels::new(used.backend(), hints).expect("the backend in use")
}

/// Into three clients that have nothing yet, emptied before every round.
fn merges(source: &[u64], rounds: usize) -> [Row; 3] {
    let clients = RefCell::new([(); 3].map(|()| vec![1; source.len()]));
    let maps = [(); 3].map(|()| references::map(source.len()));
    let bytes = size_of_val(source);
    let per_gib = |nanoseconds| nanoseconds / 1000.0 / (bytes / BYTES_PER_GUEST_GIB) as f64;
    let merge = |kernels: &Kernels| {
        let mut clients = clients.borrow_mut();
        clients.iter_mut().for_each(|words| words.fill(0));
        let mut targets = clients.each_mut().map(|words| Target::new(words));
        time(|| kernels.merge(black_box(source), &mut targets))
    };
    let move_four = || {
        let mut clients = clients.borrow_mut();
        clients.iter_mut().for_each(|words| words.fill(0));
        let mut targets = clients.each_mut().map(|words| &mut words[..]);
        time(|| references::move_four(black_box(source), &mut targets))
    };
    let qemu_shaped = || {
        references::empty(&maps);
        time(|| references::qemu_shaped(black_box(source), &maps))
    };
    let row = |what: &str, goal, rounds, reference: &dyn Fn() -> f64| {
        let (ours, reference, ratio) = in_turns(rounds, || merge(Kernels::get()), reference);
        Row {
            name: format!("merge into 3 clients, {} MiB, over {what}", bytes / MIB),
            ours: per_gib(ours),
            reference: per_gib(reference),
            unit: "µs per GiB of guest",
            ratio,
            goal,
        }
    };
    let other = other_hints();
    [
        row("a loop that reads four bitmaps and writes three", Goal::AtLeast(0.9), rounds, &move_four),
        row(&format!("the same with hints {}", other.hints()), Goal::Stated, rounds, &|| merge(other)),
        row("the QEMU-shaped loop", Goal::Stated, rounds.min(15), &qemu_shaped),
    ]
}

/// The heat map over itself with the hints turned.
fn heat(words: &[u64], rounds: usize) -> Row {
    let bytes = size_of_val(words);
    let other = other_hints();
    let into = RefCell::new(vec![1; words.len() / 8]);
    let heat = |kernels: &Kernels| time(|| kernels.heat(black_box(words), 512, &mut into.borrow_mut()));
    let (ours, reference, ratio) = in_turns(rounds, || heat(Kernels::get()), || heat(other));
    Row {
        name: format!("heat, {} MiB, over the same with hints {}", bytes / MIB, other.hints()),
        ours: bytes as f64 / ours,
        reference: bytes as f64 / reference,
        unit: "GB/s",
        ratio,
        goal: Goal::Stated,
    }
}

/// The nanoseconds of this thread's own time that something takes: what others do on the machine meanwhile does not
/// count.
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
