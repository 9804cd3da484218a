//! Benchmarks of a sync on a real VM: how much of the time the kernel takes and how much this crate takes, and for how
//! long a guest stands still while a measurement starts.
//!
//! ```text
//! cargo bench -p dirtyrate-machine --bench sync                     the tables: minutes, and 11 GiB of memory for the largest rows
//! cargo bench -p dirtyrate-machine --bench sync -- --quick [--json] what the targets need
//! ```
//!
//! In each row a guest writes a number of random pages of its memory, which is sparse, and then there is one sync. The
//! time for creating and starting the machine is stated separately. A row is the median of its rounds.

#[path = "../../dirtyrate/benches/common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Goal, Target, asked_for, median, processor};
use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::{Client, SyncReport};
use dirtyrate_machine::vm::VmOptions;
use dirtyrate_machine::workload::{Kind, Pacing, Placement, Sharing, Workload};
use dirtyrate_machine::{Guest, Machine, MachineOptions, UnknownMmio, layout::around_the_hole};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

const PAGE: u64 = 4096;
const GIB: u64 = 1 << 30;

/// Counts the bytes that are asked for and not given back.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is the system allocator's, with the layout as it came; what is added is a count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let (quick, json) = (asked_for("--quick"), asked_for("--json"));
    if !json {
        println!("{}", processor());
    }
    let mut targets = Vec::new();
    let sizes: &[(u64, &[f64])] = if quick {
        &[(64, &[0.0, 0.01]), (1024, &[0.0])]
    } else {
        &[(1, &DENSITIES), (8, &DENSITIES), (64, &DENSITIES), (1024, &DENSITIES[..3])]
    };
    for &(gib, densities) in sizes {
        targets.extend(syncs(gib, densities, if quick { 5 } else { 9 }, json));
    }
    targets.push(memory());
    targets.push(stall(if quick { 64 } else { 256 }, if quick { 3 } else { 7 }, json));
    for target in targets {
        target.print(json);
    }
}

const DENSITIES: [f64; 4] = [0.0, 0.001, 0.01, 0.1];

fn machine(gib: u64, vm: VmOptions) -> Machine {
    let blocks = around_the_hole(gib * GIB, PAGE).expect("a layout");
    let options = MachineOptions { blocks, vcpus: 1, unknown_mmio: UnknownMmio::Stop, vm };
    Machine::new(&options, &CancelToken::new()).expect("a machine")
}

fn run(machine: &Machine, kind: Kind, pages: u64, pacing: Pacing) -> Arc<Guest> {
    let (sharing, placement) = (Sharing::Split, Placement::Packed);
    let workload = Workload { kind, pages, vcpus: 1, sharing, placement, pacing, seed: 1 };
    machine.load_workload(&workload, None).expect("the workload loads");
    machine.start(&CancelToken::new()).expect("the guest starts");
    machine.guest().expect("a workload is loaded")
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// One size: a row for each density, and the targets that it shows.
fn syncs(gib: u64, densities: &[f64], rounds: usize, json: bool) -> Vec<Target> {
    let cancel = CancelToken::new();
    let began = Instant::now();
    let machine = machine(gib, VmOptions::default());
    let created = began.elapsed();
    // All pages except those of the guest's program.
    let pages = gib * GIB / PAGE - 8192;
    let guest = run(&machine, Kind::Random, pages, Pacing::Granted);
    let began = Instant::now();
    machine.start_tracking(Client::DirtyRate).expect("step 1");
    let start = began.elapsed();
    let discard = machine.discard_initial_log(&cancel).expect("step 2");
    if !json {
        println!(
            "\n{gib} GiB, one vCPU: created in {:.1} ms, logging on in {:.1} ms, first round discarded in {:.1} ms \
             (longest call {:.2} ms)\n    dirty     pages    GET, ms  CLEAR, ms    ours, ms   sync / ioctls",
            ms(created),
            ms(start),
            ms(discard.elapsed),
            ms(discard.longest_call),
        );
    }
    let mut targets = Vec::new();
    for &density in densities {
        let writes = (pages as f64 * density) as u64;
        // A million writes take the guest some ten seconds.
        let rounds = if writes > 1 << 20 { 3 } else { rounds };
        let reports: Vec<SyncReport> = (0..rounds)
            .map(|_| {
                if writes > 0 {
                    guest.grant(writes).expect("a granted guest");
                    machine.settled(&cancel).expect("the guest runs");
                }
                machine.clear(Client::DirtyRate).expect("step 3");
                let report = machine.vm().lock_dirty_memory().sync(&cancel).expect("step 4");
                forget_pages(&machine);
                report
            })
            .collect();
        let of = |part: &dyn Fn(&SyncReport) -> f64| median(reports.iter().map(part).collect());
        let (fetch, clear) = (of(&|report| ms(report.fetch)), of(&|report| ms(report.reprotect)));
        let (elapsed, ioctls) = (of(&|report| ms(report.elapsed)), of(&|report| ms(report.fetch + report.reprotect)));
        let ratio = of(&|report| report.elapsed.as_secs_f64() / (report.fetch + report.reprotect).as_secs_f64());
        if !json {
            let (dirty, pages) = (density * 100.0, of(&|report| report.pages as f64));
            println!("{dirty:7.1} % {pages:9} {fetch:10.3} {clear:10.3} {:11.3} {ratio:15.3}", elapsed - ioctls);
        }
        let goal = if density < 0.01 { 1.5 } else { 1.05 };
        if gib == 64 {
            targets.push(Target {
                name: format!("sync of {gib} GiB, {} % dirty, over its ioctls", density * 100.0),
                ours: elapsed,
                reference: ioctls,
                unit: "ms",
                ratio,
                goal: Goal::AtMost(goal),
            });
        }
        if gib == 1024 && density == 0.0 {
            targets.push(Target {
                name: "sync of a sparse 1 TiB, nearly clean, over its GETs".to_owned(),
                ours: elapsed,
                reference: fetch,
                unit: "ms",
                ratio: of(&|report| report.elapsed.as_secs_f64() / report.fetch.as_secs_f64()),
                goal: Goal::AtMost(2.0),
            });
        }
    }
    targets
}

/// Gives what the guest wrote back to the host, or the rounds would add up to all of the guest's memory. The guest
/// writes its pages without reading them, and its program is below this.
fn forget_pages(machine: &Machine) {
    const ABOVE_THE_PROGRAM: u64 = 64 << 20;
    for region in machine.vm().memory().iter() {
        let skipped = ABOVE_THE_PROGRAM.saturating_sub(region.start_addr().0).min(region.len());
        // SAFETY: the range is the rest of a mapping that this memory keeps alive; nobody holds a reference into it.
        let result = unsafe {
            let start = region.as_ptr().add(skipped as usize);
            libc::madvise(start.cast(), (region.len() - skipped) as usize, libc::MADV_DONTNEED)
        };
        assert_eq!(result, 0, "memory of ours can be forgotten");
    }
}

/// The memory that three clients of a 64 GiB guest take, divided by one bit for each page and client and one fetch
/// buffer.
fn memory() -> Target {
    let gib = 64;
    let before = HELD.load(Ordering::Relaxed);
    let machine = machine(gib, VmOptions::default());
    run(&machine, Kind::Idle, 1, Pacing::Free);
    for client in [Client::DirtyRate, Client::Migration] {
        machine.start_tracking(client).expect("step 1");
    }
    let third = machine.vm().lock_dirty_bits().open_accumulator();
    machine.start_tracking(third).expect("step 1");
    machine.discard_initial_log(&CancelToken::new()).expect("step 2");
    let held = HELD.load(Ordering::Relaxed) - before;
    let largest = machine.vm().blocks().iter().map(|block| block.words() * 8).max().unwrap_or(0);
    let all: usize = machine.vm().blocks().iter().map(|block| block.words() * 8).sum();
    let expected = 3 * all + largest;
    Target {
        name: format!("memory of 3 clients of {gib} GiB, over a bit for each page and client and a fetch buffer"),
        ours: held as f64 / 1e6,
        reference: expected as f64 / 1e6,
        unit: "MB",
        ratio: held as f64 / expected as f64,
        goal: Goal::AtMost(1.05),
    }
}

/// The longest time between two writes of a guest while a measurement starts, over the same while nothing happens to
/// it: with one CLEAR for all of a block, and in chunks.
fn stall(gib: u64, rounds: usize, json: bool) -> Target {
    let at_once = VmOptions { clear_chunk_bytes: u64::MAX / 2, ..VmOptions::default() };
    let longest = |vm: VmOptions| {
        let machine = machine(gib, vm);
        let guest = run(&machine, Kind::Stride, 4096, Pacing::Free);
        let (mut undisturbed, mut starting) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut took = Duration::ZERO;
            starting.push(ms(longest_pause(&guest, || {
                let began = Instant::now();
                machine.start_tracking(Client::DirtyRate).expect("step 1");
                machine.discard_initial_log(&CancelToken::new()).expect("step 2");
                took = began.elapsed();
            })));
            machine.abandon(Client::DirtyRate).expect("its end");
            // The same time, with an equally busy thread beside the guest.
            undisturbed.push(ms(longest_pause(&guest, || {
                let began = Instant::now();
                while began.elapsed() < took {
                    std::hint::spin_loop();
                }
            })));
        }
        (median(undisturbed), median(starting))
    };
    let ((quiet_one, one), (quiet, chunks)) = (longest(at_once), longest(VmOptions::default()));
    if !json {
        println!(
            "\n{gib} GiB, longest pause between two writes, ms: one CLEAR for each block {one:.1} (undisturbed {quiet_one:.1}), \
             in chunks of 1 GiB {chunks:.1} (undisturbed {quiet:.1})\n"
        );
    }
    Target {
        name: format!("longest pause of a guest of {gib} GiB at the start of a measurement, over its undisturbed one"),
        ours: chunks,
        reference: quiet,
        unit: "ms",
        ratio: chunks / quiet,
        goal: Goal::AtMost(2.0),
    }
}

/// The longest time that the guest's count of writes stood still while `work` ran. Another thread looks.
fn longest_pause(guest: &Guest, work: impl FnOnce()) -> Duration {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut count, mut changed, mut longest) = (guest.counters().writes[0], Instant::now(), Duration::ZERO);
            while !ended.load(Ordering::Relaxed) {
                let now = guest.counters().writes[0];
                let at = Instant::now();
                longest = longest.max(at - changed);
                if now != count {
                    (count, changed) = (now, at);
                }
            }
            longest
        });
        work();
        ended.store(true, Ordering::Relaxed);
        watcher.join().expect("the watcher does not panic")
    })
}
