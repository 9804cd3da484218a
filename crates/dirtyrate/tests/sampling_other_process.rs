//! Sampling of another process's memory, without KVM and a dirty log, by a reader of the test's own. The other process
//! is a child that writes the pages it is told to. Its memory is a copy of the parent's, and the parent's memory stays
//! as it was.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;
use std::time::Duration;

use dirtyrate::sampling::{
    Contents, Look, MOST_SAMPLES_PER_GIB, PageBlock, PageReader, Plan, PlanOptions, SampleReport, sample_at,
};
use dirtyrate::{CancelToken, Error, Result, host_page_size};

const PAGES: u64 = 4096;

/// Private anonymous memory, which a child gets a copy of.
struct Memory(*mut u8);

impl Memory {
    fn new() -> Self {
        let bytes = (PAGES * host_page_size()) as usize;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: the kernel chooses a free place.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        Self(start.cast())
    }

    fn page(&self, page: u64) -> *mut u8 {
        assert!(page < PAGES);
        self.0.wrapping_add((page * host_page_size()) as usize)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and nothing points into it any more.
        unsafe { libc::munmap(self.0.cast(), (PAGES * host_page_size()) as usize) };
    }
}

/// A child that writes one byte of each page from the first on, as many pages as each order says, and answers each
/// order.
struct Writer {
    pid: libc::pid_t,
    orders: File,
    answers: File,
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: there is room for both descriptors, which nobody else has.
    unsafe {
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0, "{}", io::Error::last_os_error());
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

impl Writer {
    fn start(memory: &Memory) -> Self {
        let ((orders, to_child), (from_child, answers)) = (pipe(), pipe());
        // SAFETY: the child only calls `obey`, which allocates nothing, takes no lock and never returns.
        let pid = unsafe { libc::fork() };
        assert_ne!(pid, -1, "{}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: the child has nothing but this thread.
            unsafe {
                libc::close(to_child.as_raw_fd());
                obey(memory.0, host_page_size() as usize, orders.as_raw_fd(), answers.as_raw_fd());
            }
        }
        Self { pid, orders: to_child.into(), answers: from_child.into() }
    }

    /// Has the first `pages` pages written; returns when they are.
    fn write(&self, pages: u64) {
        (&self.orders).write_all(&pages.to_ne_bytes()).expect("the child lives");
        (&self.answers).read_exact(&mut [0; 8]).expect("the child answers");
    }
}

/// What the child does until nobody gives it orders any more.
///
/// # Safety
///
/// `start` is the beginning of the memory that both processes had, and the order names no page behind it.
unsafe fn obey(start: *mut u8, page_size: usize, orders: i32, answers: i32) -> ! {
    let mut pages = 0_u64;
    // SAFETY: the buffer has eight bytes; the pages are in the memory, as the caller promises.
    unsafe {
        while libc::read(orders, (&raw mut pages).cast(), 8) == 8 {
            for page in 0..pages as usize {
                let byte = start.wrapping_add(page * page_size);
                byte.write_volatile(byte.read_volatile().wrapping_add(1));
            }
            libc::write(answers, (&raw const pages).cast(), 8);
        }
        libc::_exit(0)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: the child is this process's own, and was not waited for yet.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
        }
    }
}

/// Reads a process's memory through `/proc/PID/mem`.
struct ProcessReader {
    memory: File,
    start: u64,
    blocks: Vec<PageBlock>,
    page: Vec<u8>,
}

impl ProcessReader {
    fn new(pid: libc::pid_t, memory: &Memory) -> Self {
        let file = File::open(format!("/proc/{pid}/mem")).expect("a child's memory can be read");
        let block = PageBlock { name: "memory".to_owned(), guest_address: 0, pages: PAGES };
        Self { memory: file, start: memory.0 as u64, blocks: vec![block], page: vec![0; host_page_size() as usize] }
    }
}

impl PageReader for ProcessReader {
    fn page_size(&self) -> u64 {
        host_page_size()
    }

    fn blocks(&self) -> &[PageBlock] {
        &self.blocks
    }

    fn read(&mut self, _: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
        for (place, look) in looks.iter().enumerate() {
            let address = self.start + look.page * host_page_size();
            self.memory.read_exact_at(&mut self.page, address).map_err(Error::vmm)?;
            visit(place, Contents::Bytes(&self.page));
        }
        Ok(())
    }
}

/// Samples the child at two deadlines, which writes what `written` says before each of them; beside the reports, the
/// plan.
fn sample(written: [u64; 2]) -> (Vec<SampleReport>, Plan) {
    let memory = Memory::new();
    let child = Writer::start(&memory);
    let reader = ProcessReader::new(child.pid, &memory);
    let options = PlanOptions::default().with_samples_per_gib(MOST_SAMPLES_PER_GIB);
    let plan = Plan::new(reader.blocks(), host_page_size(), options).expect("a plan");
    let asked = Cell::new(0);
    // The first order comes after the first pass, and the second one after the first comparison.
    let orders = || {
        if let Some(pages) = written.get(asked.replace(asked.get() + 1)) {
            child.write(*pages);
        }
        Ok(())
    };
    // No wait is long enough that it asks a second time.
    let deadlines = [Duration::ZERO; 2];
    let reports = sample_at(reader, plan.clone(), &deadlines, &CancelToken::new(), orders).expect("sampled");
    // SAFETY: the page is this process's.
    assert_eq!(unsafe { memory.page(0).read_volatile() }, 0, "the other process wrote its own copy");
    (reports, plan)
}

#[test]
fn what_another_process_wrote_is_found_page_by_page() {
    for pages in [0, 1, PAGES / 3, PAGES] {
        let (reports, plan) = sample([0, pages]);
        let expected = plan.blocks()[0].iter().filter(|page| **page < pages).count() as u64;
        let [first, second] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!((first.sampled.hits, second.sampled.hits), (0, expected), "{pages} pages");
        assert_eq!(second.sampled.new_hits, expected);
        assert!(second.sampled.samples == plan.blocks()[0].len() as u64 && second.sampled.samples > 1);
    }
}

#[test]
fn a_process_that_is_gone_ends_the_measurement() {
    let memory = Memory::new();
    let child = Writer::start(&memory);
    let reader = ProcessReader::new(child.pid, &memory);
    let plan = Plan::new(reader.blocks(), host_page_size(), PlanOptions::default()).expect("a plan");
    let child = Cell::new(Some(child));
    let end = || {
        drop(child.take());
        Ok(())
    };
    let ended = sample_at(reader, plan, &[Duration::ZERO], &CancelToken::new(), end);
    assert!(matches!(ended, Err(Error::Vmm(_))), "{ended:?}");
}

#[test]
fn a_deadline_that_no_clock_can_name_is_refused_and_a_cancel_ends_the_wait() {
    let memory = Memory::new();
    let child = Writer::start(&memory);
    let plan =
        |reader: &ProcessReader| Plan::new(reader.blocks(), host_page_size(), PlanOptions::default()).expect("a plan");
    let sample = |deadline, cancel: &CancelToken, alive: &dyn Fn() -> Result<()>| {
        let reader = ProcessReader::new(child.pid, &memory);
        let plan = plan(&reader);
        sample_at(reader, plan, &[deadline], cancel, alive).map(|reports| reports.len())
    };
    let refused = sample(Duration::MAX, &CancelToken::new(), &|| Ok(()));
    assert!(matches!(refused, Err(Error::Argument(_))), "{refused:?}");
    let cancel = CancelToken::new();
    let cancelled = sample(Duration::from_secs(3600), &cancel, &|| {
        cancel.cancel();
        Ok(())
    });
    assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
}
