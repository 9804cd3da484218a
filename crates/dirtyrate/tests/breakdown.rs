//! A reap by region, by granule and by cell, against sets of pages. The pages are so large that a region of 1 GiB has
//! few of them, so that small bitmaps have many regions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dirtyrate::dirty_memory::{
    Client, DirtyMemory, FakeLog, FakeProtect, GranularityReap, Reap, ReapOptions, sync_at_with, take_at_with,
};
use dirtyrate::{BlockId, BlockInfo, CancelToken, Error, REGION_BYTES};
use proptest::prelude::*;

const CLIENT: Client = Client::DirtyRate;

/// A block of the test, and the pages of it that are written.
#[derive(Debug, Clone)]
struct Written {
    /// Clean pages of the guest's address space before it.
    gap: u64,
    pages: u64,
    /// Runs of written pages, each as its first page and its length. They may go past the end.
    runs: Vec<(u64, u64)>,
}

impl Written {
    fn dirty(&self) -> BTreeSet<u64> {
        self.runs.iter().flat_map(|(first, length)| *first..(first + length).min(self.pages)).collect()
    }
}

fn blocks() -> impl Strategy<Value = Vec<Written>> {
    let runs = prop::collection::vec((0..1200_u64, prop_oneof![1..3_u64, 1..300_u64]), 0..8);
    let block = (0..70_u64, prop_oneof![1..130_u64, 1..1200_u64], runs);
    prop::collection::vec(block.prop_map(|(gap, pages, runs)| Written { gap, pages, runs }), 1..4)
}

/// Dirty memory with these blocks, whose pages are written, and which is synced.
fn memory(page_size: u64, chunk_pages: u64, blocks: &[Written]) -> DirtyMemory {
    let log = FakeLog::new(FakeProtect::Manual);
    let mut memory = DirtyMemory::new(Box::new(log.clone()), page_size, chunk_pages * page_size);
    let mut address = 0;
    for (number, block) in (0..).zip(blocks) {
        let info = BlockInfo {
            id: BlockId(number),
            name: format!("ram{number}"),
            guest_address: (address + block.gap) * page_size,
            pages: block.pages,
        };
        address += block.gap + block.pages;
        log.add_block(info.id, info.pages);
        memory.add_block(info).expect("a block");
    }
    memory.start_tracking(CLIENT).expect("step 1");
    memory.discard_initial_log(&CancelToken::new()).expect("step 2");
    memory.clear(CLIENT).expect("step 3");
    for (number, block) in (0..).zip(blocks) {
        block.dirty().into_iter().for_each(|page| log.guest_write(BlockId(number), page));
    }
    memory
}

/// Checks what a reap says beside its figures.
fn check(reap: &Reap, page_size: u64, cell_pages: u64, blocks: &[Written]) -> Result<(), TestCaseError> {
    let region_pages = REGION_BYTES / page_size;
    prop_assert_eq!(reap.pages, blocks.iter().map(|block| block.dirty().len() as u64).sum::<u64>());
    for (found, block) in reap.blocks.iter().zip(blocks) {
        let mut next = 0;
        for region in &found.regions {
            prop_assert_eq!(region.first_page, next);
            prop_assert_eq!(region.size, region_pages.min(block.pages - next));
            next += region.size;
            let dirty = block.dirty().range(region.first_page..next).count() as u64;
            prop_assert_eq!(region.pages, dirty, "{:?}", region);
        }
        prop_assert_eq!(next, block.pages, "the regions are the block");
        prop_assert_eq!(found.regions.iter().map(|region| region.pages).sum::<u64>(), found.pages);
        let dirty = block.dirty();
        let cells = (0..block.pages).step_by(cell_pages as usize);
        let cells: Vec<_> = cells.map(|first| dirty.range(first..first + cell_pages).count() as u32).collect();
        prop_assert_eq!(&found.cells, &cells, "cells of {} pages", cell_pages);
    }
    for GranularityReap { granule_bytes, count, .. } in &reap.granularities {
        let (mut dirty, mut extents) = (0, 0);
        for (found, block) in reap.blocks.iter().zip(blocks) {
            let address = |page: u64| found.block.guest_address + page * page_size;
            let granules: BTreeSet<_> = block.dirty().into_iter().map(|page| address(page) / granule_bytes).collect();
            dirty += granules.len() as u64;
            extents += granules.iter().filter(|granule| !granules.contains(&granule.wrapping_sub(1))).count() as u64;
        }
        prop_assert_eq!((count.dirty, count.extents), (dirty, extents), "granules of {} bytes", granule_bytes);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_reap_equals_sets_of_pages(
        blocks in blocks(),
        // Regions of 64, 256 and 512 pages.
        shift in prop_oneof![Just(24_u32), Just(22), Just(21)],
        chunk_pages in prop_oneof![Just(64_u64), Just(128), Just(192), Just(1024)],
        sizes in prop::collection::vec(prop_oneof![Just(1_u64), Just(2), Just(16), Just(64), Just(512), 1..700_u64], 0..4),
        // Cells of a part of a chunk, of several chunks, across the borders of chunks, and larger than a block.
        cell_pages in prop_oneof![Just(1_u64), Just(32), Just(64), Just(128), Just(384), Just(2048), 1..1500_u64],
    ) {
        let page_size = 1 << shift;
        let memory = Arc::new(Mutex::new(memory(page_size, chunk_pages, &blocks)));
        let lock = || memory.lock().expect("no panic");
        let granularities: Vec<_> = sizes.iter().map(|pages| pages * page_size).collect();
        let options = ReapOptions::default().with_by_region(true)
            .with_granularities(granularities.clone()).with_cell_bytes(Some(cell_pages * page_size));
        let (cancel, at_once) = (CancelToken::new(), Duration::ZERO);
        let reports = sync_at_with(lock, CLIENT, &[at_once; 2], &options, &cancel, || Ok(())).expect("step 4");
        let (taken, _) = take_at_with(lock, CLIENT, at_once, &options, &cancel, || Ok(())).expect("steps 4 and 5");
        for reap in reports.iter().map(|report| &report.reap).chain([&taken.reap]) {
            prop_assert!(reap.granularities.iter().map(|of_size| of_size.granule_bytes).eq(granularities.iter().copied()));
            check(reap, page_size, cell_pages, &blocks)?;
        }
        let after = lock().bits().reap_with(CLIENT, &options).expect("a reap");
        let none: Vec<_> = blocks.into_iter().map(|block| Written { runs: Vec::new(), ..block }).collect();
        check(&after, page_size, cell_pages, &none)?;
    }
}

#[test]
fn a_reap_counts_nothing_that_nobody_asks_for() {
    let block = Written { gap: 0, pages: 200, runs: vec![(3, 100)] };
    let memory = memory(4096, 64, &[block]);
    let reap = memory.bits().reap(CLIENT).expect("a reap");
    assert!(reap.granularities.is_empty());
    assert!(reap.blocks.iter().all(|block| block.regions.is_empty() && block.cells.is_empty()));
}

#[test]
fn granules_and_cells_that_are_no_multiples_of_the_page_are_refused() {
    let memory = Arc::new(Mutex::new(memory(4096, 64, &[])));
    for bytes in [0, 1, 4095, 4097, 6144] {
        let options = ReapOptions::default();
        for options in [options.clone().with_granularities(vec![8192, bytes]), options.with_cell_bytes(Some(bytes))] {
            let lock = || memory.lock().expect("no panic");
            let refused =
                sync_at_with(lock, CLIENT, &[Duration::from_secs(3600)], &options, &CancelToken::new(), || Ok(()));
            assert!(matches!(refused, Err(Error::Argument(_))), "{bytes}: {refused:?}");
        }
    }
    // The pages of a cell are counted in 32 bits.
    for (pages, is_refused) in [((1_u64 << 32) - 1, false), (1 << 32, true)] {
        let options = ReapOptions::default().with_cell_bytes(Some(pages * 4096));
        let reap = memory.lock().expect("no panic").bits().reap_with(CLIENT, &options);
        assert_eq!(matches!(reap, Err(Error::Argument(_))), is_refused, "{pages}: {reap:?}");
    }
}
