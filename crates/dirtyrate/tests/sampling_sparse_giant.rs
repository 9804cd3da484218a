//! Sampling 16 TiB of sparse memory of a process takes as much memory as its samples, and none of the process.

use std::fs;
use std::io;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use dirtyrate::CancelToken;
use dirtyrate::sampling::process::{Process, ProcessRange, sample_process_at};
use dirtyrate::sampling::{DEFAULT_SAMPLES_PER_GIB, PlanOptions};

const BYTES: u64 = 16 << 40;
const SAMPLES: u64 = (BYTES >> 30) * DEFAULT_SAMPLES_PER_GIB as u64;
/// What the docs of `Sampling` say that a sample takes.
const BYTES_OF_A_SAMPLE: u64 = 33;
/// What the test program, its threads and its allocator may need beside that.
const OTHERS: u64 = 16 << 20;

/// A figure of /proc/self/status, in bytes.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the own status");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

#[test]
fn sixteen_sparse_tebibytes_take_no_more_memory_than_their_samples() {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel chooses a free place.
    let memory =
        unsafe { libc::mmap(ptr::null_mut(), BYTES as usize, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    assert_ne!(memory, libc::MAP_FAILED, "{}", io::Error::last_os_error());
    // The first page and the last one exist.
    for page in [0, BYTES as usize - 4096] {
        // SAFETY: the page is in the mapping.
        unsafe { memory.cast::<u8>().wrapping_add(page).write_volatile(1) };
    }
    let process = Arc::new(Process::open(std::process::id()).expect("this process may be read"));
    let range = ProcessRange { name: "ram".to_owned(), guest_address: 0, start: memory.addr() as u64, bytes: BYTES };
    let (tables, before) = (status("VmPTE:"), status("VmRSS:"));
    let reports = sample_process_at(&process, &[range], PlanOptions::default(), &[Duration::ZERO], &CancelToken::new());
    let sampled = &reports.expect("measured")[0].sampled;
    assert_eq!((sampled.samples, sampled.hits, sampled.unjudged), (SAMPLES, 0, 0));
    let took = status("VmHWM:") - before;
    assert!(took <= SAMPLES * BYTES_OF_A_SAMPLE + OTHERS, "{took} bytes for {SAMPLES} samples");
    // Page tables for the samples, at most: none for the memory that was looked at.
    let most = (SAMPLES * BYTES_OF_A_SAMPLE).div_ceil(512) + (1 << 20);
    assert!(status("VmPTE:") - tables <= most, "{} bytes of page tables", status("VmPTE:") - tables);
    // SAFETY: the mapping is this test's, and nothing points into it any more.
    unsafe { libc::munmap(memory, BYTES as usize) };
}
