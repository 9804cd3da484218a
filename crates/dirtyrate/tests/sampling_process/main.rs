//! Sampling of another process from outside. The other process is a child with memory of a known kind, in which it
//! writes the pages that it is told to.

#[allow(dead_code, reason = "the tests of soft-dirty bits use the rest")]
mod child;
#[path = "../sampling_support/mod.rs"]
mod sampling_support;

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use child::{Child, Kind, PAGES};
use dirtyrate::sampling::process::{Process, ProcessRange, ProcessReader, sample_process_at};
use dirtyrate::sampling::{
    Contents, Look, MOST_SAMPLES_PER_GIB, PageReader, Plan, PlanOptions, SampleReport, Sampling,
};
use dirtyrate::{CancelToken, Error, Result, host_page_size};
use sampling_support::Listener;

const KINDS: [Kind; 7] = [
    Kind::Anonymous,
    Kind::Memfd { shared: true },
    Kind::Memfd { shared: false },
    Kind::File { shared: true },
    Kind::File { shared: false },
    Kind::Huge { shared: true },
    Kind::Huge { shared: false },
];

fn is_huge(kind: Kind) -> bool {
    matches!(kind, Kind::Huge { .. })
}

/// A child with memory of this kind. Only huge pages can be missing.
fn start(kind: Kind) -> Option<Child> {
    let child = Child::start(kind);
    if child.is_none() && is_huge(kind) {
        eprintln!("{kind:?}: not tested, because this machine has no free huge pages (sysctl vm.nr_hugepages)");
        return None;
    }
    Some(child.expect("a child"))
}

fn options() -> PlanOptions {
    PlanOptions::default().with_samples_per_gib(MOST_SAMPLES_PER_GIB).with_seed(7)
}

fn process(child: &Child) -> Arc<Process> {
    Arc::new(Process::open(child.pid()).expect("a child may be read"))
}

fn reader(child: &Child, scans: bool) -> ProcessReader {
    let reader = ProcessReader::new(process(child), &[child.range()]).expect("a reader");
    if scans { reader } else { reader.without_scans().expect("a reader") }
}

fn begin(reader: ProcessReader) -> Sampling<ProcessReader> {
    let plan = Plan::new(reader.blocks(), reader.page_size(), options()).expect("a plan");
    Sampling::begin(reader, plan, &CancelToken::new()).expect("a first look")
}

/// Fails if looking has cost the process a page or a page table.
fn expect_same(child: &Child, (counts, present): &(Vec<String>, Vec<bool>)) {
    let (counts_now, present_now) = child.footprint();
    assert_eq!(&counts_now, counts);
    let mapped = present.iter().zip(&present_now).filter(|(before, now)| before != now).count();
    assert_eq!(mapped, 0, "pages that a look has mapped");
}

#[test]
fn what_the_process_wrote_is_found_and_nothing_is_mapped_by_looking() {
    for kind in KINDS {
        for scans in [true, false] {
            let Some(child) = start(kind) else { continue };
            // A third of the lower half exists; a part of the upper half was read, which maps pages of zeros.
            let of_third = |page: u64| page < PAGES / 2 && page.is_multiple_of(3);
            if is_huge(kind) {
                child.write(0, 1, PAGES / 4, 1);
            } else {
                child.write(0, 3, PAGES / 6, 1);
                child.read(PAGES * 3 / 4, 1, PAGES / 8);
            }
            let (before, blocks) = (child.footprint(), child.file_blocks());
            let mut sampling = begin(reader(&child, scans));
            let cancel = CancelToken::new();
            let found = sampling.compare(&cancel).expect("a second look");
            assert_eq!((found.hits, found.unjudged), (0, 0), "{kind:?}");
            expect_same(&child, &before);
            // The kernel can take away a page of the file that nobody has written.
            assert!(child.file_blocks() <= blocks, "{kind:?}: a look has made blocks of the file");

            let pages = sampling.plan().blocks()[0].clone();
            if !is_huge(kind) {
                let zeros = pages.iter().filter(|&&page| !of_third(page)).count() as u64;
                assert_eq!(found.zero_pages, zeros, "{kind:?}, scans {scans}");
            }
            // Some of the pages exist already, some do not, and some are mapped as zeros.
            let changed = |page: u64| page.is_multiple_of(5);
            let most = if is_huge(kind) { PAGES / 4 } else { PAGES };
            child.write(0, 5, most.div_ceil(5), 2);
            let hits = pages.iter().filter(|&&page| changed(page) && page < most).count() as u64;
            let found = sampling.compare(&cancel).expect("a third look");
            assert_eq!((found.hits, found.unjudged), (hits, 0), "{kind:?}, scans {scans}");
            assert!(hits > 20 && hits < found.samples);
            sampling.reader().check_memory().expect("nothing was mapped anew");
        }
    }
}

#[test]
fn memory_that_another_process_fills_is_read_by_its_file() {
    let child = start(Kind::Memfd { shared: true }).expect("a child");
    let mut sampling = begin(reader(&child, true));
    let pages = sampling.plan().blocks()[0].clone();
    for &page in &pages[..10] {
        child.write_file(page, 1);
    }
    let before = child.footprint();
    let found = sampling.compare(&CancelToken::new()).expect("a second look");
    assert_eq!(found.hits, 10);
    expect_same(&child, &before);
}

#[test]
fn what_is_only_on_the_disk_stays_there_and_is_not_judged() {
    for shared in [true, false] {
        let child = start(Kind::File { shared }).expect("a child");
        for page in 0..PAGES {
            child.write_file(page, 1);
        }
        let _ = child.drop_from_memory();
        let mut sampling = begin(reader(&child, true));
        let pages = sampling.plan().blocks()[0].clone();
        let cancel = CancelToken::new();
        let found = sampling.compare(&cancel).expect("a second look");
        assert_eq!((found.hits, found.zero_pages), (0, 0));
        let memory_only = child.drop_from_memory();
        if memory_only {
            eprintln!("not tested, because {:?} is in memory", std::env::temp_dir());
        } else {
            child.write(pages[0], 1, 1, 9);
            let found = sampling.compare(&cancel).expect("a third look");
            // The page was read from the disk by the write itself, together with its neighbours.
            assert!(found.unjudged >= 1, "shared {shared}: {found:?}");
            assert_eq!(found.hits, 0);
            child.write(pages[0], 1, 1, 10);
            assert_eq!(sampling.compare(&cancel).expect("a fourth look").hits, 1);
        }
    }
}

/// Samples `range` in a short window. `act` is called inside of it.
fn sample_with(
    process: &Arc<Process>,
    range: &ProcessRange,
    act: impl FnOnce() + Send + 'static,
) -> Result<Vec<SampleReport>> {
    sample_for(Duration::from_millis(50), process, range, act)
}

/// Samples `range`. `act` is called inside of the window: after the first look, and before the first comparison.
fn sample_for(
    window: Duration,
    process: &Arc<Process>,
    range: &ProcessRange,
    act: impl FnOnce() + Send + 'static,
) -> Result<Vec<SampleReport>> {
    let ranges = std::slice::from_ref(range);
    let reader = ProcessReader::new(Arc::clone(process), ranges).expect("a reader");
    let plan = Plan::new(reader.blocks(), host_page_size(), options()).expect("a plan");
    // There is one event for each first look.
    let listener = Listener::new(plan.blocks()[0].len(), Box::new(act));
    tracing::subscriber::with_default(listener, || {
        sample_process_at(process, ranges, options(), &[window], &CancelToken::new())
    })
}

#[test]
fn a_process_that_changes_within_the_window_ends_the_measurement() {
    type Act = fn(&Child);
    let changes: [(Act, &str); 5] = [
        (Child::kill, "has ended"),
        (Child::execute, "has executed another program"),
        (|child| child.unmap(PAGES / 4, PAGES / 2), "has unmapped or replaced"),
        (|child| child.replace(PAGES - 1, 1), "has unmapped or replaced"),
        // The mappings are the same afterwards.
        (Child::renew, "has replaced or discarded all memory of 'ram'"),
    ];
    for kind in [Kind::Anonymous, Kind::Memfd { shared: true }] {
        for (change, expected) in changes {
            let child = start(kind).expect("a child");
            child.write(0, 1, PAGES, 1);
            let (process, range, pid) = (process(&child), child.range(), child.pid());
            let text = match sample_with(&process, &range, move || {
                change(&child);
                // A child that has ended stays a zombie.
                std::mem::forget(child);
            }) {
                Err(error @ Error::ProcessGone { .. }) => error.to_string(),
                other => panic!("{kind:?}, {expected}: {other:?}"),
            };
            assert!(text.contains(expected) && text.contains(&pid.to_string()), "{kind:?}: {text}");
            // SAFETY: the child is this process's own, and was not waited for yet.
            unsafe {
                libc::kill(pid as libc::pid_t, libc::SIGKILL);
                libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0);
            }
        }
    }
}

#[test]
fn a_file_that_is_shortened_within_the_window_ends_the_measurement() {
    for kind in [Kind::Memfd { shared: true }, Kind::Memfd { shared: false }, Kind::File { shared: true }] {
        for left in [0, PAGES - 1] {
            let child = start(kind).expect("a child");
            child.write(0, 1, PAGES, 1);
            let process = process(&child);
            let file = child.file().try_clone().expect("a descriptor");
            let ended = sample_with(&process, &child.range(), move || {
                file.set_len(left * host_page_size()).expect("a size");
            });
            let text = match ended {
                Err(error @ Error::ProcessGone { .. }) => error.to_string(),
                other => panic!("{kind:?}, {left} pages: {other:?}"),
            };
            assert!(text.contains("has shortened the file"), "{kind:?}, {left} pages: {text}");
        }
    }
}

/// A balloon takes many pages away at once, and the guest runs on.
#[test]
fn memory_of_which_some_is_discarded_is_measured() {
    let child = start(Kind::Anonymous).expect("a child");
    child.write(0, 1, PAGES, 1);
    let process = process(&child);
    let range = child.range();
    let measured = sample_with(&process, &range, move || {
        child.discard(0, PAGES / 2);
        std::mem::forget(child);
    });
    let measured = measured.expect("half of the memory is still there");
    let sampled = &measured[0].sampled;
    assert!(sampled.hits > sampled.samples / 3 && sampled.hits < sampled.samples * 2 / 3, "{sampled:?}");
    end(process.pid());
}

/// Kills a child whose handle was forgotten.
fn end(pid: u32) {
    // SAFETY: the child is this process's own, and was not waited for yet.
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL);
        libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0);
    }
}

#[test]
fn a_process_that_is_stopped_is_not_measured() {
    let child = start(Kind::Anonymous).expect("a child");
    child.write(0, 1, PAGES, 1);
    let (process, range, pid) = (process(&child), child.range(), child.pid());
    let expect_paused = |measured: Result<Vec<SampleReport>>, expected: &str| match measured {
        Err(Error::Paused(text)) => assert!(text.contains(expected) && text.contains(&pid.to_string()), "{text}"),
        other => panic!("{expected}: {other:?}"),
    };
    child.signal(libc::SIGSTOP);
    let at_once =
        sample_process_at(&process, std::slice::from_ref(&range), options(), &[Duration::ZERO], &CancelToken::new());
    expect_paused(at_once, "is stopped");
    child.signal(libc::SIGCONT);
    let child = Arc::new(child);
    let stopped = Arc::clone(&child);
    expect_paused(
        sample_with(&process, &range, move || stopped.signal(libc::SIGSTOP)),
        "was stopped within the window",
    );
    child.signal(libc::SIGCONT);
    sample_with(&process, &range, || ()).expect("it runs again");
}

/// The process goes on before the window ends, so that a look at its end does not notice the stop.
#[test]
fn a_stop_within_the_window_is_noticed_although_the_process_goes_on() {
    let child = Arc::new(start(Kind::Anonymous).expect("a child"));
    child.write(0, 1, PAGES, 1);
    let (measured, go_on) = mpsc::channel::<()>();
    let stopped = Arc::clone(&child);
    let ended = sample_for(Duration::from_secs(10), &process(&child), &child.range(), move || {
        stopped.signal(libc::SIGSTOP);
        thread::spawn(move || {
            // It goes on once the measurement has ended, and in any case long before the deadline.
            _ = go_on.recv_timeout(Duration::from_secs(5));
            stopped.signal(libc::SIGCONT);
        });
    });
    drop(measured);
    assert!(matches!(ended, Err(Error::Paused(_))), "{ended:?}");
}

#[test]
fn a_change_beside_the_range_changes_nothing() {
    let child = start(Kind::Anonymous).expect("a child");
    child.write(0, 1, PAGES, 1);
    let process = process(&child);
    let half = ProcessRange { bytes: child.range().bytes / 2, ..child.range() };
    let measured = sample_with(&process, &half, move || {
        child.write(0, 1, 1000, 2);
        child.unmap(PAGES / 2, PAGES / 2);
        std::mem::forget(child);
    });
    let measured = measured.expect("the range is as it was");
    assert!(measured[0].sampled.hits > 0);
    // SAFETY: the child is this process's own, and was not waited for yet.
    unsafe {
        libc::kill(process.pid() as libc::pid_t, libc::SIGKILL);
        libc::waitpid(process.pid() as libc::pid_t, std::ptr::null_mut(), 0);
    }
}

#[test]
fn a_process_that_is_not_there_is_absent_and_a_thread_is_no_process() {
    // The largest number that a kernel can give is 2^22.
    for pid in [u32::MAX >> 1, 1 << 23] {
        let refused = Process::open(pid);
        assert!(matches!(refused, Err(Error::ProcessAbsent { other_namespace: false, .. })), "{refused:?}");
    }
    assert!(matches!(Process::open(0), Err(Error::ProcessAbsent { .. })));
}

#[test]
fn a_range_that_is_no_memory_is_refused() {
    let child = start(Kind::Anonymous).expect("a child");
    let process = process(&child);
    let (whole, page) = (child.range(), host_page_size());
    child.unmap(PAGES / 2, 1);
    let bad = [
        ProcessRange { start: whole.start + 1, ..whole.clone() },
        ProcessRange { bytes: 0, ..whole.clone() },
        ProcessRange { bytes: page + 1, ..whole.clone() },
        ProcessRange { start: u64::MAX - page + 1, bytes: page, ..whole.clone() },
        whole.clone(),
        ProcessRange { start: whole.start + PAGES / 2 * page, bytes: page, ..whole.clone() },
    ];
    for range in bad {
        let refused = ProcessReader::new(Arc::clone(&process), std::slice::from_ref(&range));
        let text = match refused {
            Err(Error::Argument(text)) => text,
            other => panic!("{range:?}: {other:?}"),
        };
        assert!(text.starts_with(&format!("range {:x}-", range.start)), "{text}");
    }
    let half = ProcessRange { bytes: whole.bytes / 2, ..whole };
    let mut reader = ProcessReader::new(process, &[half]).expect("mapped");
    let beyond = reader.read(0, &[Look { page: PAGES / 2, touched: false }], &mut |_, _| ());
    assert!(matches!(beyond, Err(Error::Argument(_))), "{beyond:?}");
    assert!(reader.read(1, &[], &mut |_, _| ()).is_err());
}

#[test]
fn more_looks_than_a_batch_are_shown_in_their_order() {
    let child = start(Kind::Anonymous).expect("a child");
    child.write(0, 2, 200, 7);
    let looks: Vec<_> = (0..300).map(|page| Look { page, touched: page % 7 == 0 }).collect();
    let mut seen = Vec::new();
    let visit = &mut |place: usize, contents: Contents<'_>| {
        let last = match contents {
            Contents::Bytes(bytes) => bytes.last().copied(),
            _ => None,
        };
        seen.push((place, last));
    };
    reader(&child, true).read(0, &looks, visit).expect("read");
    let expected: Vec<_> = (0..300).map(|page| (page, (page % 2 == 0).then_some(7))).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_measurement_can_be_cancelled() {
    let child = start(Kind::Anonymous).expect("a child");
    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = sample_process_at(&process(&child), &[child.range()], options(), &[Duration::ZERO], &cancel);
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
}
