//! Soft-dirty bits of another process: a child with memory of a known kind, in which it writes the pages that it is
//! told to. Only some kernels have these bits; the rigs of x86-64 do.

#[allow(dead_code, reason = "the tests of sampling use all of it")]
#[path = "../sampling_process/child.rs"]
mod child;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use child::{Child, HUGE, Kind, PAGES};
use dirtyrate::sampling::process::{Process, ProcessRange};
use dirtyrate::soft_dirty::{SoftDirtyReport, has_soft_dirty, may_have_soft_dirty, measure_soft_dirty_at};
use dirtyrate::{CancelToken, Error, Result, host_page_size};

const WINDOW: Duration = Duration::from_millis(150);

/// Whether this kernel has the bits. The kernels of the rigs of x86-64 have them.
fn has() -> bool {
    let has = has_soft_dirty().expect("the own pagemap can be read");
    assert_eq!(may_have_soft_dirty().expect("the own pagemap can be read"), has);
    if !has {
        assert!(!std::env::var("DIRTYRATE_RIG").is_ok_and(|rig| rig.starts_with("svm")), "this kernel must have them");
        eprintln!("not tested, because this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)");
    }
    has
}

fn process(child: &Child) -> Arc<Process> {
    Arc::new(Process::open(child.pid()).expect("a child may be read"))
}

fn measure(process: &Arc<Process>, range: &ProcessRange, deadlines: &[Duration]) -> Result<Vec<SoftDirtyReport>> {
    measure_soft_dirty_at(process, std::slice::from_ref(range), deadlines, &CancelToken::new())
}

/// Whether the kernel says that a page of the child was written.
fn is_soft_dirty(child: &Child, page: u64) -> bool {
    let pagemap = File::open(format!("/proc/{}/pagemap", child.pid())).expect("a pagemap");
    let mut entry = [0; 8];
    let number = child.range().start / host_page_size() + page;
    pagemap.read_exact_at(&mut entry, number * 8).expect("an entry");
    u64::from_ne_bytes(entry) >> 55 & 1 == 1
}

/// Measures `range` of the child at two deadlines; `act` is called within the window, and ends before the first of
/// them. Page 0 tells when the window is open, so `act` must not write it.
fn measured(child: &Child, range: &ProcessRange, act: impl Fn(&Child)) -> Result<[SoftDirtyReport; 2]> {
    let process = process(child);
    let mut window = WINDOW;
    loop {
        child.write(0, 1, 1, 1);
        assert!(is_soft_dirty(child, 0));
        let began = Instant::now();
        let (reports, in_time) = thread::scope(|scope| {
            let measuring = scope.spawn(|| measure(&process, range, &[window, window * 2]));
            while is_soft_dirty(child, 0) && !measuring.is_finished() {
                thread::yield_now();
            }
            act(child);
            let in_time = began.elapsed() < window;
            (measuring.join().expect("no panic"), in_time)
        });
        if in_time || reports.is_err() {
            return reports.map(|reports| reports.try_into().expect("a report for each deadline"));
        }
        // The machine is busy.
        window *= 2;
    }
}

#[test]
fn what_the_process_writes_is_counted_page_by_page() {
    if !has() {
        return;
    }
    let kinds = [
        Kind::Anonymous,
        Kind::Memfd { shared: true },
        Kind::Memfd { shared: false },
        Kind::File { shared: true },
        Kind::File { shared: false },
    ];
    for kind in kinds {
        let child = Child::start(kind).expect("a child");
        // Some of the pages exist already, some do not, and some are mapped as zeros.
        child.write(0, 2, 512, 1);
        child.read(2048, 1, 512);
        let range = child.range();
        let [first, second] = measured(&child, &range, |child| {
            child.write(3, 7, 400, 2);
            child.read(0, 1, 4096);
        })
        .expect("measured");
        for report in [&first, &second] {
            assert_eq!((report.pages(), report.blocks[0].least_pages), (400, 400), "{kind:?}: {report:?}");
            assert!(!report.vanished && !report.shared && !report.blocks[0].huge, "{kind:?}: {report:?}");
            assert!(report.window >= report.requested && report.blocks[0].window <= report.window);
        }
        assert!(second.looking > first.looking);
        // The bytes by the time.
        let expected = (400 * host_page_size()) as f64 / first.blocks[0].window.as_secs_f64();
        assert!((first.bytes_per_second() - expected).abs() < 1e-3 * expected);
        // Nothing is left of that in the next window, and a range has its own pages only.
        let half = ProcessRange { start: range.start + range.bytes / 2, bytes: range.bytes / 2, ..range };
        let [_, none] = measured(&child, &half, |child| child.write(1, 1, 100, 3)).expect("measured");
        assert_eq!(none.pages(), 0, "{kind:?}");
    }
}

#[test]
fn the_first_write_to_a_huge_page_counts_for_all_of_it_and_that_is_said() {
    if !has() {
        return;
    }
    let child = Child::start(Kind::Anonymous).expect("a child");
    child.allow_huge();
    child.write(0, 1, PAGES, 1);
    let smaps = fs::read_to_string(format!("/proc/{}/smaps", child.pid())).expect("the child lives");
    let has_huge = smaps.lines().any(|line| line.starts_with("AnonHugePages:") && !line.ends_with(" 0 kB"));
    assert!(has_huge, "this kernel makes no huge pages of its own");
    let of_huge = HUGE / host_page_size();
    let [report, _] = measured(&child, &child.range(), |child| child.write(of_huge, of_huge, 3, 2)).expect("measured");
    let block = &report.blocks[0];
    assert!(block.huge);
    assert_eq!((block.pages, block.least_pages), (3 * of_huge, 3), "{block:?}");
    assert!(report.least_bytes_per_second() < report.bytes_per_second());
}

#[test]
fn bits_that_somebody_else_clears_are_missed() {
    if !has() {
        return;
    }
    let child = Child::start(Kind::Anonymous).expect("a child");
    let clear = || fs::write(format!("/proc/{}/clear_refs", child.pid()), "4").expect("a child of the same user");
    let [report, _] = measured(&child, &child.range(), |child| child.write(1, 1, 10, 2)).expect("measured");
    assert!(!report.in_use && !report.vanished);
    let [_, report] = measured(&child, &child.range(), |child| {
        child.write(1, 1, 100, 2);
        // The window goes on until the tripwire is there.
        thread::sleep(WINDOW / 2);
        clear();
    })
    .expect("measured");
    assert!(report.vanished, "{report:?}");
    assert!(report.in_use, "the bits had been cleared by an earlier measurement of another reader");
}

#[test]
fn bits_of_shared_pages_that_are_taken_away_are_missed() {
    if !has() {
        return;
    }
    let child = Child::start(Kind::Memfd { shared: true }).expect("a child");
    child.write(0, 1, PAGES, 1);
    let [report, _] = measured(&child, &child.range(), |child| {
        child.write(1, 1, 64, 2);
        // As the kernel does when memory is short. The file keeps the pages.
        child.discard(1, 64);
    })
    .expect("measured");
    assert!(report.vanished, "{report:?}");
    assert_eq!(report.pages(), 0, "their bits are gone");
}

#[test]
fn memory_that_another_process_shares_is_named() {
    if !has() {
        return;
    }
    let child = Child::start(Kind::Memfd { shared: true }).expect("a child");
    child.write(0, 1, 100, 1);
    let bytes = child.range().bytes as usize;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses a free place.
    let other =
        unsafe { libc::mmap(ptr::null_mut(), bytes, protection, libc::MAP_SHARED, child.file().as_raw_fd(), 0) };
    assert_ne!(other, libc::MAP_FAILED);
    let written = other.cast::<u8>().wrapping_add(50 * host_page_size() as usize);
    let address = written.expose_provenance();
    let [report, _] = measured(&child, &child.range(), |child| {
        child.write(1, 1, 5, 2);
        // SAFETY: the page is in the mapping, which is this test's.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(9) };
    })
    .expect("measured");
    assert!(report.shared);
    assert_eq!(report.pages(), 5, "the write of the other process left no bit");
    // SAFETY: the mapping is this test's, and nothing points into it any more.
    unsafe { libc::munmap(other, bytes) };
}

#[test]
fn what_cannot_be_measured_is_refused() {
    if !has() {
        return;
    }
    if let Some(huge) = Child::start(Kind::Huge { shared: false }) {
        let refused = measure(&process(&huge), &huge.range(), &[WINDOW]);
        assert!(matches!(&refused, Err(Error::State(text)) if text.contains("hugetlbfs")), "{refused:?}");
    } else {
        eprintln!("huge pages are not tested, because this machine has no free ones (sysctl vm.nr_hugepages)");
    }
    let child = Child::start(Kind::Anonymous).expect("a child");
    child.write(0, 1, PAGES, 1);
    let half = ProcessRange { bytes: child.range().bytes / 2, ..child.range() };
    let beside = measured(&child, &half, |child| {
        child.unmap(PAGES / 2, PAGES / 2);
        child.map(PAGES / 2, PAGES / 2);
    });
    assert!(matches!(&beside, Err(Error::State(text)) if text.contains("beside")), "{beside:?}");
    let replaced = measured(&child, &half, |child| child.replace(10, 1));
    assert!(matches!(&replaced, Err(Error::ProcessGone { .. })), "{replaced:?}");
    let ended = measured(&child, &ProcessRange { bytes: host_page_size(), ..half }, Child::kill);
    assert!(matches!(&ended, Err(Error::ProcessGone { .. })), "{ended:?}");
}

#[test]
fn one_measurement_at_a_time_has_the_bits() {
    if !has() {
        return;
    }
    let child = Child::start(Kind::Anonymous).expect("a child");
    let second = process(&child);
    let [report, _] = measured(&child, &child.range(), |child| {
        let refused = measure(&second, &child.range(), &[Duration::ZERO]);
        assert!(matches!(refused, Err(Error::ProcessBusy { .. })), "{refused:?}");
        child.write(1, 1, 8, 2);
    })
    .expect("measured");
    assert_eq!(report.pages(), 8);
}

#[test]
fn a_user_who_may_not_clear_the_bits_is_told_which_file_it_is() {
    // SAFETY: the call takes nothing.
    if !has() || unsafe { libc::geteuid() } != 0 {
        return;
    }
    let child = Child::start(Kind::Anonymous).expect("a child");
    let process = process(&child);
    let range = child.range();
    let refused = thread::spawn(move || {
        // SAFETY: the call changes who this thread is for files, and takes CAP_DAC_OVERRIDE away from it.
        unsafe { libc::syscall(libc::SYS_setfsuid, 65534) };
        measure(&process, &range, &[WINDOW])
    });
    let refused = refused.join().expect("no panic");
    let expected = format!("/proc/{}/clear_refs", child.pid());
    assert!(
        matches!(&refused, Err(Error::ProcessPermission { call: "open", context, .. }) if *context == expected),
        "{refused:?}"
    );
}

#[test]
fn a_kernel_without_the_bits_is_refused_and_a_measurement_can_be_cancelled() {
    let child = Child::start(Kind::Anonymous).expect("a child");
    let process = process(&child);
    if !has() {
        let refused = measure(&process, &child.range(), &[WINDOW]);
        assert!(matches!(&refused, Err(Error::Unsupported(text)) if text.contains("MEM_SOFT_DIRTY")), "{refused:?}");
        return;
    }
    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = measure_soft_dirty_at(&process, &[child.range()], &[WINDOW], &cancel);
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
}
