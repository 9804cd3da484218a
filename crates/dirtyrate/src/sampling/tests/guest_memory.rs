//! Looking at memory that is mapped here.

use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use super::super::pagemap::Pagemap;
use super::super::*;
use crate::block::{BlockId, BlockInfo};
use crate::page_size::host_page_size;
use crate::wait::CancelToken;

const PAGES: u64 = 1 << 16;
const START: u64 = 1 << 32;

fn memory() -> (Arc<GuestMemoryMmap>, Vec<BlockInfo>, u64) {
    let page_size = host_page_size();
    let bytes = (PAGES * page_size) as usize;
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 3 << 20), (GuestAddress(START), bytes)]);
    let memory = Arc::new(memory.expect("memory"));
    for region in memory.iter() {
        // SAFETY: the advice changes no contents; a huge page would be touched as a whole.
        unsafe { libc::madvise(region.as_ptr().cast(), region.len() as usize, libc::MADV_NOHUGEPAGE) };
    }
    let block = |id, name: &str, guest_address, pages| BlockInfo {
        id: BlockId(id),
        name: name.to_owned(),
        guest_address,
        pages,
    };
    let low = block(0, "low", 1 << 20, (2 << 20) / page_size);
    (memory, vec![low, block(1, "high", START, PAGES)], page_size)
}

fn touched(memory: &GuestMemoryMmap, page_size: u64) -> Vec<bool> {
    let start = memory.find_region(GuestAddress(START)).expect("a region").as_ptr().addr() as u64 / page_size;
    let mut pagemap = Pagemap::open().expect("a pagemap");
    let mut is_touched = |page| pagemap.is_touched(page, page + 1..start + PAGES).expect("an entry");
    (start..start + PAGES).map(&mut is_touched).collect()
}

fn write(memory: &GuestMemoryMmap, page: u64, page_size: u64, value: u8) {
    let last_byte = START + (page + 1) * page_size - 1;
    memory.write_slice(&[value], GuestAddress(last_byte)).expect("in memory");
}

#[test]
fn looking_touches_nothing_and_sees_every_change() {
    let (memory, blocks, page_size) = memory();
    // One page in three, some as zeros, and the last one.
    for page in (0..PAGES).filter(|page| page % 3 == 0 || *page == PAGES - 1) {
        write(&memory, page, page_size, u8::from(page % 2 == 0));
    }
    let before = touched(&memory, page_size);
    assert_eq!(before.iter().filter(|&&touched| touched).count() as u64, PAGES.div_ceil(3));

    let reader = GuestMemoryReader::new(Arc::clone(&memory), &blocks, page_size).expect("a reader");
    assert!(reader.spares_untouched());
    let options = PlanOptions { samples_per_gib: 16384, design: Design::Stratified, seed: 5, cell_bytes: None };
    let plan = Plan::new(reader.blocks(), page_size, options).expect("a plan");
    let cancel = CancelToken::new();
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    let found = sampling.compare(&cancel).expect("a second look");
    assert_eq!(touched(&memory, page_size), before, "a look has touched a page");

    let pages = sampling.plan().blocks()[1].clone();
    let zero = |page: &&u64| !(page.is_multiple_of(3) && page.is_multiple_of(2));
    let high = &found.blocks[1];
    assert_eq!((high.samples, high.hits), (pages.len() as u64, 0));
    assert_eq!(high.zero_pages, pages.iter().filter(zero).count() as u64);
    assert_eq!(high.untouched_pages, pages.iter().filter(|&&page| !before[page as usize]).count() as u64);
    assert_eq!(found.blocks[0].untouched_pages, found.blocks[0].samples);

    // A write to the last byte of an untouched page, one that puts zeros where there were none, and one of the same
    // value.
    for page in 0..PAGES {
        match page % 8 {
            0 => write(&memory, page, page_size, 77),
            1 => write(&memory, page, page_size, 0),
            2 => write(&memory, page, page_size, u8::from(page % 3 == 0)),
            _ => {}
        }
    }
    let changed = |page: &&u64| page.is_multiple_of(8);
    let found = sampling.compare(&cancel).expect("a third look");
    assert_eq!(found.blocks[1].hits, pages.iter().filter(changed).count() as u64);
    assert_eq!((found.blocks[0].hits, found.blocks[1].zero_pages), (0, high.zero_pages));
}

#[test]
fn a_pagemap_is_read_in_runs_and_answers_for_every_page() {
    let (memory, _, page_size) = memory();
    for page in (0..PAGES).filter(|page| page % 5 == 2) {
        write(&memory, page, page_size, 1);
    }
    let start = memory.find_region(GuestAddress(START)).expect("a region").as_ptr().addr() as u64 / page_size;
    let mut pagemap = Pagemap::open().expect("a pagemap");
    for step in [1, 7, 31, 32, 33, 511, 512, 513, 4096] {
        // Twice the same page, too.
        let pages: Vec<_> = (0..PAGES).step_by(step).flat_map(|page| [start + page; 2]).collect();
        pagemap.forget();
        for (place, &page) in pages.iter().enumerate() {
            let found = pagemap.is_touched(page, pages[place + 1..].iter().copied()).expect("an entry");
            assert_eq!(found, (page - start) % 5 == 2, "{step}");
        }
    }
}

#[test]
fn what_was_untouched_is_asked_about_again() {
    let (memory, blocks, page_size) = memory();
    let mut reader = GuestMemoryReader::new(Arc::clone(&memory), &blocks, page_size).expect("a reader");
    let mut look = |page| {
        let mut value = None;
        let visit = &mut |_: usize, contents: Contents<'_>| {
            value = match contents {
                Contents::Untouched | Contents::NotInMemory => None,
                Contents::Bytes(bytes) => bytes.last().copied(),
            };
        };
        reader.read(1, &[Look { page, touched: false }], visit).expect("a look");
        value
    };
    for page in [0, 5, PAGES - 1] {
        assert_eq!(look(page), None);
        write(&memory, page, page_size, 42);
        assert_eq!(look(page), Some(42));
    }
}

#[test]
fn shared_memory_is_read_and_a_block_that_is_not_there_is_refused() {
    let (memory, blocks, page_size) = memory();
    for (guest_address, pages) in
        [(START, PAGES + 1), (START - page_size, 1), (START + 1, 1), (START, 0), (0, u64::MAX)]
    {
        let bad = BlockInfo { guest_address, pages, ..blocks[1].clone() };
        let text = GuestMemoryReader::new(Arc::clone(&memory), &[bad], page_size).expect_err("not there").to_string();
        assert!(text.contains("'high'"), "{text}");
    }
    assert!(GuestMemoryReader::new(Arc::clone(&memory), &blocks, 2 * page_size).is_err());

    let file = vm_memory::FileOffset::new(memfd(), 0);
    let bytes = (16 * page_size) as usize;
    let memory = GuestMemoryMmap::<()>::from_ranges_with_files([(GuestAddress(0), bytes, Some(file))]).expect("memory");
    let block = BlockInfo { guest_address: 0, pages: 16, ..blocks[1].clone() };
    let mut reader = GuestMemoryReader::new(Arc::new(memory), &[block], page_size).expect("a reader");
    assert!(!reader.spares_untouched());
    let looks = [Look { page: 0, touched: false }, Look { page: 15, touched: false }];
    let mut seen = Vec::new();
    reader
        .read(0, &looks, &mut |place, contents| seen.push((place, matches!(contents, Contents::Bytes(_)))))
        .expect("read");
    assert_eq!(seen, [(0, true), (1, true)]);
    let beyond = reader.read(0, &[Look { page: 16, touched: true }], &mut |_, _| {}).expect_err("beyond").to_string();
    assert!(beyond.contains("16 pages"), "{beyond}");
}

fn memfd() -> std::fs::File {
    use std::os::fd::FromRawFd;
    // SAFETY: the name is a C string; the descriptor is new and ours alone.
    let file = unsafe {
        let descriptor = libc::memfd_create(c"sampling".as_ptr(), libc::MFD_CLOEXEC);
        assert!(descriptor >= 0, "{}", std::io::Error::last_os_error());
        std::fs::File::from_raw_fd(descriptor)
    };
    file.set_len(16 * host_page_size()).expect("memory");
    file
}

/// A page past the block's end is refused, also where its address wraps around to one of the block, and where the
/// region goes on behind the block.
#[test]
fn a_look_past_the_end_is_refused() {
    let (memory, blocks, page_size) = memory();
    let mut reader = GuestMemoryReader::new(memory, &blocks, page_size).expect("a reader");
    let low = blocks[0].pages;
    for (block, page) in [(0, low), (1, PAGES), (1, 1 << 52), (1, u64::MAX / page_size + 1), (1, u64::MAX), (2, 0)] {
        for touched in [false, true] {
            let looks = [Look { page: 0, touched }, Look { page, touched }];
            let refused = reader.read(block, &looks, &mut |_, _| {});
            assert!(matches!(refused, Err(crate::error::Error::Argument(_))), "page {page} of block {block}");
        }
    }
}

/// Where the kernel stops answering in the middle of a measurement, the measurement goes on as where it never answered.
#[test]
fn a_pagemap_that_cannot_be_read_ends_no_measurement() {
    let (memory, blocks, page_size) = memory();
    write(&memory, 5, page_size, 7);
    let mut reader = GuestMemoryReader::new(memory, &blocks, page_size).expect("a reader");
    reader.pagemap = Some(Pagemap::of(std::fs::File::open("/dev/null").expect("a file without a byte")));
    let looks = [4, 5, 6].map(|page| Look { page, touched: false });
    let mut last_bytes = Vec::new();
    let visit = &mut |_: usize, contents: Contents<'_>| match contents {
        Contents::Untouched | Contents::NotInMemory => last_bytes.push(None),
        Contents::Bytes(bytes) => last_bytes.push(bytes.last().copied()),
    };
    reader.read(1, &looks, visit).expect("the pages");
    assert_eq!(last_bytes, [Some(0), Some(7), Some(0)]);
    assert!(!reader.spares_untouched());
}
