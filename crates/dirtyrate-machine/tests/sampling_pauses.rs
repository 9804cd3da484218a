//! Sampling a VM from another process does not make the pauses of its guest longer: the guest's own counter says so.
//!
//! This process samples, as a `pid:` target does, and reads the guest's counter every millisecond. The VM is in a
//! child. Phases in which the VM's memory is sampled alternate with phases in which the memory of a bystander is
//! sampled, a child without a guest. So the machine has the same work in both, and they differ only in what a look does
//! to the VM.
//! `DIRTYRATE_TEST_FULL=1 cargo test -p dirtyrate-machine --test sampling_pauses -- --nocapture` does more rounds.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dirtyrate::CancelToken;
use dirtyrate::sampling::PlanOptions;
use dirtyrate::sampling::process::{Process, ProcessRange, sample_process_at};
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;
use vm_memory::GuestMemoryBackend;

const BYTES: u64 = 128 * MIB;
/// Four calls of `process_vm_readv` a pass: a build without optimisation takes long to hash a page.
const SAMPLES_PER_GIB: u32 = 2048;
const ROUNDS: usize = 40;
const ROUNDS_OF_FULL: usize = 300;
/// How long a phase is at least. It has two passes over the samples at least.
const PHASE: Duration = Duration::from_millis(60);
/// How often the counter is read. The reader cannot see a pause that is shorter than this.
const LOOK: Duration = Duration::from_millis(1);
/// How many standard deviations are allowed. Chance alone exceeds five of them once in three million runs.
const SIGMAS: f64 = 5.0;

const ROLE: &str = "DIRTYRATE_SAMPLED_ROLE";
const NAME: &str = "the_longest_pause_of_a_guest_does_not_grow_while_it_is_sampled";

/// A child whose memory is sampled. It ends when its standard input does.
struct Sampled {
    child: std::process::Child,
    range: ProcessRange,
    /// Where the child has the count of writes of its guest.
    counter: u64,
    /// The test program in the child writes to it now and then, and would end if it could not.
    _output: BufReader<ChildStdout>,
}

impl Sampled {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", NAME, "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let place = output.by_ref().lines().map_while(Result::ok).find_map(|line| {
            let numbers = line.strip_prefix("memory ")?.split(' ').map(|word| word.parse().expect("a number"));
            Some(numbers.collect::<Vec<u64>>())
        });
        let place = place.expect("the child says where its memory is");
        let range = ProcessRange { name: role.to_owned(), guest_address: 0, start: place[0], bytes: BYTES };
        Self { child, range, counter: place[1], _output: output }
    }

    fn open(&self) -> Arc<Process> {
        Arc::new(Process::open(self.child.id()).expect("a child may be read"))
    }

    fn count(&self) -> u64 {
        let mut count = 0_u64;
        let local = libc::iovec { iov_base: (&raw mut count).cast(), iov_len: 8 };
        let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(self.counter as usize), iov_len: 8 };
        // SAFETY: the local part is `count`; the remote part is only read.
        let read =
            unsafe { libc::process_vm_readv(self.child.id() as i32, &raw const local, 1, &raw const remote, 1, 0) };
        assert_eq!(read, 8, "{}", std::io::Error::last_os_error());
        count
    }
}

impl Drop for Sampled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a child does.
fn play(role: &str) {
    let until_the_parent_ends = || std::io::stdin().read_to_end(&mut Vec::new()).expect("an end");
    if role == "bystander" {
        // With a page more, so that the whole pages within are enough. Half of them are touched, as the guest does.
        let mut memory = vec![0_u64; ((BYTES + page_size()) / 8) as usize];
        for page in memory.chunks_mut(page_size() as usize / 8).step_by(2) {
            page.fill(page.as_ptr().addr() as u64);
        }
        let start = memory.as_ptr().addr().next_multiple_of(page_size() as usize);
        println!("\nmemory {start} {start}");
        until_the_parent_ends();
        drop(memory);
        return;
    }
    let machine = machine(vec![block("ram", 0, BYTES / page_size())], 1);
    let guest = run(&machine, &workload(Kind::Stride, BYTES / page_size() / 2, 1, Pacing::Free));
    let memory = machine.vm().memory();
    let start = memory.iter().next().expect("a region").as_ptr().addr() as u64;
    println!("\nmemory {start} {}", start + guest.program().mailbox_page(0));
    until_the_parent_ends();
}

/// What a phase has seen.
struct Phase {
    /// The longest time for which looks saw the same count: a pause of the guest is at least as long. A look that comes
    /// late makes it no longer.
    longest: Duration,
    hits: u64,
}

/// Reads the guest's counter while the memory of `sampled` is sampled again and again.
fn phase(vm: &Sampled, sampled: &Sampled, process: &Arc<Process>) -> Phase {
    let (stop, passes, hits) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let longest = thread::scope(|scope| {
        let _stop = EndsOnDrop(&stop);
        let sampler = scope.spawn(|| {
            let options = PlanOptions::default().with_samples_per_gib(SAMPLES_PER_GIB);
            let ranges = std::slice::from_ref(&sampled.range);
            while !stop.load(Ordering::Acquire) {
                let reports = sample_process_at(process, ranges, options, &[Duration::ZERO], &CancelToken::new());
                hits.fetch_add(reports.expect("sampled")[0].sampled.hits, Ordering::Relaxed);
                passes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let began = Instant::now();
        let (mut count, mut since, mut longest) = (vm.count(), began, Duration::ZERO);
        while (began.elapsed() < PHASE || passes.load(Ordering::Relaxed) < 2) && !sampler.is_finished() {
            thread::sleep(LOOK);
            let (found, now) = (vm.count(), Instant::now());
            if found == count {
                longest = longest.max(now - since);
            } else {
                (count, since) = (found, now);
            }
        }
        longest
    });
    Phase { longest, hits: hits.into_inner() }
}

/// If sampling does nothing to the guest, each pause of `sampled` is as likely longer as shorter than each of `alone`.
/// How many pairs there are in which it is longer is Mann and Whitney's U, with this mean and deviation.
fn most_by_chance(rounds: usize) -> f64 {
    let n = rounds as f64;
    n * n / 2.0 + SIGMAS * n * ((2.0 * n + 1.0) / 12.0).sqrt()
}

#[test]
fn the_longest_pause_of_a_guest_does_not_grow_while_it_is_sampled() {
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    if !kvm() {
        return;
    }
    let rounds = if std::env::var_os("DIRTYRATE_TEST_FULL").is_some() { ROUNDS_OF_FULL } else { ROUNDS };
    let (vm, bystander) = (Sampled::start("vm"), Sampled::start("bystander"));
    let (its, others) = (vm.open(), bystander.open());
    let (mut sampled, mut alone, mut hits) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        // Each goes first in half of the rounds.
        for first in [round % 2 == 0, round % 2 != 0] {
            if first {
                let phase = phase(&vm, &vm, &its);
                hits += phase.hits;
                sampled.push(phase.longest);
            } else {
                let phase = phase(&vm, &bystander, &others);
                assert_eq!(phase.hits, 0, "nobody writes the memory of the bystander");
                alone.push(phase.longest);
            }
        }
    }
    assert!(hits > 0, "what was sampled is the memory that the guest writes");
    let longer = sampled.iter().map(|&of| alone.iter().filter(|&&other| of > other + LOOK).count()).sum::<usize>();
    let most = most_by_chance(rounds);
    sampled.sort();
    alone.sort();
    let context = format!(
        "a pause is longer while the VM is sampled in {longer} of {} pairs, and by chance in {most:.0} at most; \
         medians {:?} and {:?}",
        rounds * rounds,
        sampled[rounds / 2],
        alone[rounds / 2],
    );
    eprintln!("{context}");
    assert!(longer as f64 <= most, "{context}");
}
