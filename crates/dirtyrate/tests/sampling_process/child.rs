//! A child process with memory of a known kind and place, which does what it is told.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr;

use dirtyrate::host_page_size;
use dirtyrate::sampling::process::ProcessRange;

/// How many pages the memory has.
pub const PAGES: u64 = 1 << 15;
/// The bytes of a huge page, on the machines where the tests use one.
pub const HUGE: u64 = 2 << 20;

/// A kind of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Anonymous,
    Memfd { shared: bool },
    File { shared: bool },
    Huge { shared: bool },
}

/// What the child does.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Order {
    what: u64,
    first: u64,
    step: u64,
    count: u64,
    value: u64,
}

const WRITE: u64 = 0;
const READ: u64 = 1;
const UNMAP: u64 = 2;
const REPLACE: u64 = 3;
const EXECUTE: u64 = 4;
const MAP: u64 = 5;
const ADVISE: u64 = 6;

pub struct Child {
    pid: libc::pid_t,
    start: u64,
    orders: File,
    answers: File,
    file: Option<File>,
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: there is room for both descriptors, which nobody else has.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0, "{}", io::Error::last_os_error());
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

fn bytes() -> usize {
    (PAGES * host_page_size()) as usize
}

fn memfd(flags: libc::c_uint) -> Option<File> {
    // SAFETY: the name is a C string; the descriptor is new.
    let descriptor = unsafe { libc::memfd_create(c"guest ram".as_ptr(), flags | libc::MFD_CLOEXEC) };
    // SAFETY: the descriptor is this function's alone.
    (descriptor >= 0).then(|| unsafe { File::from_raw_fd(descriptor) })
}

fn file_of(kind: Kind) -> Option<File> {
    let file = match kind {
        Kind::Anonymous | Kind::Huge { shared: false } => return None,
        Kind::Memfd { .. } => memfd(0)?,
        Kind::Huge { shared: true } => memfd(libc::MFD_HUGETLB)?,
        Kind::File { .. } => {
            let path = std::env::temp_dir().join(format!("dirtyrate-ram-{}-{:?}", std::process::id(), kind));
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("a file");
            fs::remove_file(path).expect("it was made");
            file
        }
    };
    file.set_len(bytes() as u64).expect("a size");
    Some(file)
}

impl Child {
    /// A child that has `PAGES` pages of this kind; none if this machine has no huge pages.
    pub fn start(kind: Kind) -> Option<Self> {
        let file = file_of(kind);
        let shared = matches!(kind, Kind::Memfd { shared } | Kind::File { shared } | Kind::Huge { shared } if shared);
        let mut flags = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE } | libc::MAP_FIXED;
        // Huge pages are reserved, so that a machine without enough of them refuses at once.
        if !matches!(kind, Kind::Huge { .. }) {
            flags |= libc::MAP_NORESERVE;
        }
        if file.is_none() {
            flags |= libc::MAP_ANONYMOUS;
        }
        if kind == (Kind::Huge { shared: false }) {
            flags |= libc::MAP_HUGETLB;
        }
        // A place that neither process uses for something else.
        let reserve = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the kernel chooses a free place.
        let reserved = unsafe { libc::mmap(ptr::null_mut(), bytes() + HUGE as usize, libc::PROT_NONE, reserve, -1, 0) };
        assert_ne!(reserved, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let start = (reserved.addr() as u64).next_multiple_of(HUGE);
        let ((orders, to_child), (from_child, answers)) = (pipe(), pipe());
        let descriptor = file.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        // SAFETY: the child only calls `obey`, which allocates nothing, takes no lock and never returns.
        let pid = unsafe { libc::fork() };
        assert_ne!(pid, -1, "{}", io::Error::last_os_error());
        if pid == 0 {
            // SAFETY: the child has nothing but this thread, and the place is reserved.
            unsafe {
                libc::close(to_child.as_raw_fd());
                let memory = libc::mmap(
                    ptr::without_provenance_mut(start as usize),
                    bytes(),
                    libc::PROT_READ | libc::PROT_WRITE,
                    flags,
                    descriptor,
                    0,
                );
                if memory == libc::MAP_FAILED {
                    libc::_exit(1);
                }
                // Otherwise one write would make a huge page of zeros beside it.
                libc::madvise(memory, bytes(), libc::MADV_NOHUGEPAGE);
                obey(memory.cast(), host_page_size() as usize, orders.as_raw_fd(), answers.as_raw_fd());
            }
        }
        // SAFETY: the reservation is this function's, and the child has its own.
        unsafe { libc::munmap(reserved, bytes() + HUGE as usize) };
        drop((orders, answers));
        let child = Self { pid, start, orders: to_child.into(), answers: from_child.into(), file };
        child.ordered(READ, 0, 1, 0, 0).is_ok().then_some(child)
    }

    fn ordered(&self, what: u64, first: u64, step: u64, count: u64, value: u64) -> io::Result<()> {
        let words = [what, first, step, count, value];
        (&self.orders).write_all(&words.map(u64::to_ne_bytes).concat())?;
        (&self.answers).read_exact(&mut [0; 8])
    }

    /// Has `value` written to `count` pages from `first` on, one of each `step`; returns when that is done.
    pub fn write(&self, first: u64, step: u64, count: u64, value: u8) {
        self.ordered(WRITE, first, step, count, u64::from(value)).expect("the child answers");
    }

    /// Has pages read, so that pages of zeros are mapped.
    pub fn read(&self, first: u64, step: u64, count: u64) {
        self.ordered(READ, first, step, count, 0).expect("the child answers");
    }

    /// Has pages unmapped.
    pub fn unmap(&self, first: u64, count: u64) {
        self.ordered(UNMAP, first, 1, count, 0).expect("the child answers");
    }

    /// Has pages replaced by other memory of another kind.
    pub fn replace(&self, first: u64, count: u64) {
        self.ordered(REPLACE, first, 1, count, 0).expect("the child answers");
    }

    /// Has pages mapped anew, with the kind of private anonymous memory that the child has.
    pub fn map(&self, first: u64, count: u64) {
        self.ordered(MAP, first, 1, count, 0).expect("the child answers");
    }

    /// Has all of the memory mapped again, with the same kind of memory and, if it has a file, with an empty one at the
    /// same inode.
    pub fn renew(&self) {
        match &self.file {
            None => self.map(0, PAGES),
            Some(file) => {
                file.set_len(0).expect("a size");
                file.set_len(bytes() as u64).expect("a size");
            }
        }
    }

    /// Has the contents of pages discarded, as a balloon does.
    pub fn discard(&self, first: u64, count: u64) {
        self.ordered(ADVISE, first, 1, count, libc::MADV_DONTNEED as u64).expect("the child answers");
    }

    /// Sends the child a signal that stops it or lets it go on, and waits until that is so.
    pub fn signal(&self, signal: libc::c_int) {
        let mut status = 0;
        // SAFETY: the child is this process's own, and there is room for its status.
        unsafe {
            assert_eq!(libc::kill(self.pid, signal), 0, "{}", io::Error::last_os_error());
            let options = libc::WUNTRACED | libc::WCONTINUED;
            assert_eq!(libc::waitpid(self.pid, &raw mut status, options), self.pid);
        }
    }

    /// Has the kernel make huge pages of pages that are written from now on.
    pub fn allow_huge(&self) {
        self.ordered(ADVISE, 0, 1, PAGES, libc::MADV_HUGEPAGE as u64).expect("the child answers");
    }

    /// Has another program executed, and waits until it is there.
    pub fn execute(&self) {
        assert!(self.ordered(EXECUTE, 0, 1, 0, 0).is_err(), "the pipe is closed by the exec");
    }

    /// Ends the child, which stays a zombie.
    pub fn kill(&self) {
        // SAFETY: the child is this process's own, and was not waited for yet.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        assert!((&self.answers).read_exact(&mut [0; 8]).is_err(), "it has ended");
    }

    pub fn pid(&self) -> u32 {
        self.pid as u32
    }

    /// The file of the memory.
    pub fn file(&self) -> &File {
        self.file.as_ref().expect("memory with a file")
    }

    /// Writes to the file of the memory, as another process that shares it does.
    pub fn write_file(&self, page: u64, value: u8) {
        self.file().write_all_at(&[value], page * host_page_size()).expect("written");
    }

    /// Drops the file's pages from memory. Returns whether they are still there, because the file is only there.
    pub fn drop_from_memory(&self) -> bool {
        let file = self.file();
        file.sync_all().expect("on the disk");
        // SAFETY: the call takes a descriptor and numbers.
        let done = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(done, 0);
        // SAFETY: all bytes of a statfs may be zero; the descriptor is open, and there is room for the answer.
        let kind = unsafe {
            let mut found: libc::statfs = std::mem::zeroed();
            assert_eq!(libc::fstatfs(file.as_raw_fd(), &raw mut found), 0);
            found.f_type
        };
        kind == libc::TMPFS_MAGIC
    }

    /// The memory as a range.
    pub fn range(&self) -> ProcessRange {
        ProcessRange { name: "ram".to_owned(), guest_address: 0, start: self.start, bytes: bytes() as u64 }
    }

    /// What the memory costs the child, as the kernel counts: its pages, its page tables, and which pages exist.
    pub fn footprint(&self) -> (Vec<String>, Vec<bool>) {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.pid)).expect("the child lives");
        let line = |text: &str, field: &str| text.lines().find(|line| line.starts_with(field)).map(str::to_owned);
        let (rollup, status) = (read("smaps_rollup"), read("status"));
        let counts = ["Rss:", "Swap:"].iter().filter_map(|field| line(&rollup, field));
        let tables = ["VmPTE:", "HugetlbPages:"].iter().filter_map(|field| line(&status, field));
        let pagemap = File::open(format!("/proc/{}/pagemap", self.pid)).expect("a pagemap");
        let mut entries = vec![0; PAGES as usize * 8];
        pagemap.read_exact_at(&mut entries, self.start / host_page_size() * 8).expect("entries");
        let present = entries.chunks_exact(8).map(|entry| entry[7] >> 6 != 0).collect();
        (counts.chain(tables).collect(), present)
    }

    /// How many blocks of the file exist.
    pub fn file_blocks(&self) -> Option<u64> {
        use std::os::unix::fs::MetadataExt;
        self.file.as_ref().map(|file| file.metadata().expect("a file").blocks())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: the child is this process's own, and was not waited for yet.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
        }
    }
}

/// What the child does until nobody gives it orders any more.
///
/// # Safety
///
/// `start` is the beginning of the child's memory, and the orders name no page behind it.
unsafe fn obey(start: *mut u8, page_size: usize, orders: i32, answers: i32) -> ! {
    let mut order = Order { what: 0, first: 0, step: 0, count: 0, value: 0 };
    // SAFETY: the buffer has the size of an order; the pages are in the memory, as the caller promises.
    unsafe {
        while libc::read(orders, (&raw mut order).cast(), size_of::<Order>()) == size_of::<Order>() as isize {
            let first = start.wrapping_add(order.first as usize * page_size);
            let (step, bytes) = (order.step as usize * page_size, order.count as usize * page_size);
            match order.what {
                UNMAP => {
                    libc::munmap(first.cast(), bytes);
                }
                REPLACE => {
                    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
                    libc::mmap(first.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
                }
                MAP => {
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
                    libc::mmap(first.cast(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
                    libc::madvise(first.cast(), bytes, libc::MADV_NOHUGEPAGE);
                }
                ADVISE => {
                    libc::madvise(first.cast(), bytes, order.value as i32);
                }
                EXECUTE => {
                    let arguments = [c"sleep".as_ptr(), c"1000".as_ptr(), ptr::null()];
                    libc::execve(c"/bin/sleep".as_ptr(), arguments.as_ptr(), [ptr::null()].as_ptr());
                    libc::_exit(2);
                }
                what => {
                    for page in 0..order.count as usize {
                        let byte = first.wrapping_add(page * step + page_size - 1);
                        if what == WRITE { byte.write_volatile(order.value as u8) } else { _ = byte.read_volatile() }
                    }
                }
            }
            libc::write(answers, (&raw const order.what).cast(), 8);
        }
        libc::_exit(0)
    }
}
