//! Sampling over a memory whose contents are known completely.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::*;
use crate::error::{Error, Result};
use crate::wait::CancelToken;

const PAGE: u64 = 4096;

/// What the memory is, and what was done to it.
#[derive(Debug, Default)]
struct State {
    /// The value of every byte of each page of each block; `None`: untouched.
    pages: Vec<Vec<Option<u8>>>,
    /// Pages of block 0 that are in swap.
    swapped: Vec<u64>,
    /// Pages that were looked at.
    looks: Vec<(usize, Look)>,
    /// Fails, or cancels, at that look.
    fail_at: Option<(usize, Option<CancelToken>)>,
    /// How long each call takes.
    takes: Duration,
}

#[derive(Debug)]
struct Fake {
    blocks: Vec<PageBlock>,
    state: Arc<Mutex<State>>,
}

impl PageReader for Fake {
    fn page_size(&self) -> u64 {
        PAGE
    }

    fn blocks(&self) -> &[PageBlock] {
        &self.blocks
    }

    fn read(&mut self, block: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
        let mut state = self.state.lock().expect("not poisoned");
        assert!(looks.len() <= 64 && looks.is_sorted_by_key(|look| look.page));
        std::thread::sleep(state.takes);
        for (place, look) in looks.iter().enumerate() {
            match &state.fail_at {
                Some((at, None)) if *at == state.looks.len() => {
                    return Err(Error::State("no page can be read".to_owned()));
                }
                Some((at, Some(cancel))) if *at == state.looks.len() => cancel.cancel(),
                _ => {}
            }
            state.looks.push((block, *look));
            match state.pages[block][look.page as usize] {
                _ if block == 0 && state.swapped.contains(&look.page) => visit(place, Contents::NotInMemory),
                Some(value) => visit(place, Contents::Bytes(&[value; PAGE as usize])),
                None => visit(place, Contents::Untouched),
            }
        }
        Ok(())
    }
}

fn fake(sizes: &[u64]) -> (Fake, Arc<Mutex<State>>) {
    let block =
        |(i, &pages): (usize, &u64)| PageBlock { name: format!("block {i}"), guest_address: (i as u64) << 40, pages };
    let pages = sizes.iter().map(|&pages| vec![Some(1); pages as usize]).collect();
    let state = Arc::new(Mutex::new(State { pages, ..State::default() }));
    (Fake { blocks: sizes.iter().enumerate().map(block).collect(), state: Arc::clone(&state) }, state)
}

fn plan(reader: &Fake, samples_per_gib: u32) -> Plan {
    Plan::new(
        &reader.blocks,
        PAGE,
        PlanOptions { samples_per_gib, design: Design::Stratified, seed: 11, cell_bytes: None },
    )
    .expect("a plan")
}

fn change(state: &Mutex<State>, which: impl Fn(usize, u64) -> bool, to: Option<u8>) {
    let mut state = state.lock().expect("not poisoned");
    for (block, pages) in state.pages.iter_mut().enumerate() {
        for (page, value) in pages.iter_mut().enumerate().filter(|(page, _)| which(block, *page as u64)) {
            let _ = page;
            *value = to;
        }
    }
}

/// A page that was in swap at the first look is judged by the first look that finds it in memory.
#[test]
fn a_page_in_swap_counts_as_unchanged_until_it_was_seen() {
    let (reader, state) = fake(&[1000]);
    let plan = plan(&reader, 16384);
    let pages = plan.blocks()[0].clone();
    let cancel = CancelToken::new();
    // The first page is in swap at the first look, and the second one only later.
    state.lock().expect("not poisoned").swapped = vec![pages[0]];
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    state.lock().expect("not poisoned").swapped = vec![pages[0], pages[1]];
    change(&state, |_, page| page == pages[0] || page == pages[1], Some(2));
    let found = sampling.compare(&cancel).expect("a comparison");
    assert_eq!((found.hits, found.unjudged, found.zero_pages, found.untouched_pages), (0, 0, 0, 0));

    // Both come back: what the first one was is not known, and the second one was seen before.
    state.lock().expect("not poisoned").swapped.clear();
    let found = sampling.compare(&cancel).expect("a comparison");
    assert_eq!((found.hits, found.unjudged, found.blocks[0].unjudged), (1, 1, 1));
    change(&state, |_, page| page == pages[0], Some(3));
    let found = sampling.compare(&cancel).expect("a comparison");
    assert_eq!((found.hits, found.unjudged), (2, 1));
}

#[test]
fn each_comparison_adds_what_changed_since_the_last_and_forgets_nothing() {
    let (reader, state) = fake(&[5000, 1, 3000]);
    let plan = plan(&reader, 16384);
    let drawn = plan.blocks().to_vec();
    let cancel = CancelToken::new();
    let count = |which: &dyn Fn(usize, u64) -> bool| {
        let hits = |(block, pages): (usize, &Vec<u64>)| pages.iter().filter(|&&page| which(block, page)).count() as u64;
        drawn.iter().enumerate().map(hits).collect::<Vec<_>>()
    };
    let total = |which: &dyn Fn(usize, u64) -> bool| count(which).iter().sum::<u64>();

    // Block 0 has a run of zeros and a run that nobody has touched.
    change(&state, |block, page| block == 0 && (100..900).contains(&page), Some(0));
    change(&state, |block, page| block == 0 && (900..2100).contains(&page), None);
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    let none = sampling.compare(&cancel).expect("a comparison");
    assert_eq!((none.hits, none.new_hits, none.samples), (0, 0, total(&|_, _| true)));
    assert_eq!(none.zero_pages, total(&|block, page| block == 0 && (100..2100).contains(&page)));
    assert_eq!(none.untouched_pages, total(&|block, page| block == 0 && (900..2100).contains(&page)));
    assert_eq!(none.dirty(&Intervals::default()).interval.low, 0.0);

    let first = |block: usize, page: u64| block != 1 && page.is_multiple_of(5);
    change(&state, first, Some(2));
    let found = sampling.compare(&cancel).expect("a comparison");
    assert_eq!((found.hits, found.new_hits), (total(&first), total(&first)));
    assert_eq!(found.blocks.iter().map(|block| block.hits).collect::<Vec<_>>(), count(&first));

    // What changed changes back; others change, among them the block of one page; pages that were zeros are discarded.
    change(&state, first, Some(1));
    let second = |block: usize, page: u64| block == 1 || page % 7 == 1;
    change(&state, second, Some(3));
    change(
        &state,
        |block, page| block == 0 && (100..900).contains(&page) && !first(block, page) && !second(block, page),
        None,
    );
    let either = |block: usize, page: u64| first(block, page) || second(block, page);
    let found = sampling.compare(&cancel).expect("a comparison");
    assert_eq!((found.hits, found.new_hits), (total(&either), total(&either) - total(&first)));
    assert_eq!(found.blocks.iter().map(|block| block.new_hits).sum::<u64>(), found.new_hits);
    assert_eq!((found.blocks[1].hits, found.blocks[1].samples), (1, 1));

    // The figures weigh the blocks by their pages.
    let intervals = Intervals::default();
    let by_pages: f64 =
        found.blocks.iter().map(|block| block.pages as f64 * block.hits as f64 / block.samples as f64).sum::<f64>()
            / 8001.0;
    assert!((found.dirty(&intervals).fraction - by_pages).abs() < 1e-12);
    let rates: f64 = found.blocks.iter().map(|block| block.rate(&intervals).bytes_per_second).sum();
    let rate = found.rate(&intervals);
    assert!((rate.bytes_per_second / rates - 1.0).abs() < 1e-12);
    assert!(rate.interval.low < rate.bytes_per_second && rate.bytes_per_second < rate.interval.high);
    let block = &found.blocks[2];
    let expected = block.hits as f64 / block.samples as f64 * (block.pages * PAGE) as f64 / block.window.as_secs_f64();
    assert!((block.rate(&intervals).bytes_per_second / expected - 1.0).abs() < 1e-12);
}

#[test]
fn every_sample_is_looked_at_once_in_order_and_none_again_that_has_changed() {
    let (reader, state) = fake(&[3000, 777]);
    let plan = plan(&reader, 16384);
    let expected: Vec<_> = plan
        .blocks()
        .iter()
        .enumerate()
        .flat_map(|(block, pages)| pages.iter().map(move |&page| (block, page)))
        .collect();
    change(&state, |_, page| page % 2 == 1, None);
    let looks = |state: &Mutex<State>| std::mem::take(&mut state.lock().expect("not poisoned").looks);
    let cancel = CancelToken::new();
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    assert_eq!(looks(&state).iter().map(|(block, look)| (*block, look.page)).collect::<Vec<_>>(), expected);
    change(&state, |_, page| page % 3 == 0, Some(9));
    sampling.compare(&cancel).expect("a comparison");
    let second = looks(&state);
    assert_eq!(second.iter().map(|(block, look)| (*block, look.page)).collect::<Vec<_>>(), expected);
    assert!(
        second.iter().all(|(_, look)| look.touched == (look.page % 2 == 0)),
        "what was touched is not asked about again"
    );
    sampling.compare(&cancel).expect("a comparison");
    let left: Vec<_> = expected.into_iter().filter(|(_, page)| page % 3 != 0).collect();
    assert_eq!(looks(&state).iter().map(|(block, look)| (*block, look.page)).collect::<Vec<_>>(), left);
}

/// With a slow reader, windows are the windows of the samples and not of the passes.
#[test]
fn windows_are_the_samples_own() {
    let (reader, state) = fake(&[1024, 1]);
    let plan = plan(&reader, 16384);
    assert_eq!(plan.samples(), 65);
    let takes = Duration::from_millis(20);
    state.lock().expect("not poisoned").takes = takes;
    let cancel = CancelToken::new();
    let before = Instant::now();
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    assert!(sampling.began() >= before && sampling.first_pass() >= 2 * takes);
    state.lock().expect("not poisoned").takes = Duration::ZERO;
    let began = Instant::now();
    let found = sampling.compare(&cancel).expect("a comparison");
    let ended = Instant::now();
    // The first batch's time is the middle of a call of 20 ms at least, and the second's of the next one.
    let (first, second) = (found.blocks[0].window, found.blocks[1].window);
    let rounding = Duration::from_nanos(2);
    assert!(first >= takes / 2 + takes - rounding && first <= ended - before, "{first:?}");
    assert!(second >= takes / 2 - rounding && second <= ended - before - takes, "{second:?}");
    assert!(began - before + rounding >= first.saturating_sub(found.took) + takes / 2);
    assert_eq!(found.skew.max(rounding), found.skew);
    assert!(found.skew.abs_diff(first.abs_diff(second)) <= rounding, "{:?}", found.skew);
    assert!(found.window_error >= takes / 2);
    let mean = (first.as_secs_f64() * 64.0 + second.as_secs_f64()) / 65.0;
    assert!((found.window.as_secs_f64() - mean).abs() < 1e-8);
}

#[test]
fn a_comparison_that_fails_loses_nothing() {
    let (reader, state) = fake(&[8192]);
    let plan = plan(&reader, 16384);
    let samples = plan.samples();
    assert_eq!(samples, 512);
    let cancel = CancelToken::new();
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    change(&state, |_, _| true, Some(2));
    state.lock().expect("not poisoned").fail_at = Some((512 + 100, None));
    assert!(matches!(sampling.compare(&cancel), Err(Error::State(_))));
    change(&state, |_, _| true, Some(1));
    state.lock().expect("not poisoned").fail_at = None;
    let found = sampling.compare(&cancel).expect("a comparison");
    assert_eq!((found.hits, found.new_hits), (100, 100));
    assert_eq!(sampling.compare(&cancel).expect("a comparison").new_hits, 0);
}

#[test]
fn a_cancel_ends_either_pass_at_the_next_batch() {
    let (reader, state) = fake(&[8192]);
    let plan = plan(&reader, 16384);
    let looks = || state.lock().expect("not poisoned").looks.len();
    let fail_at = |at, cancel: &CancelToken| {
        state.lock().expect("not poisoned").fail_at = Some((at, Some(cancel.clone())));
    };
    let cancel = CancelToken::new();
    let again = Fake { blocks: reader.blocks.clone(), state: Arc::clone(&state) };
    fail_at(70, &cancel);
    assert!(matches!(Sampling::begin(again, plan.clone(), &cancel), Err(Error::Cancelled)));
    assert_eq!(looks(), 128);
    let mut sampling = Sampling::begin(reader, plan, &CancelToken::new()).expect("a first look");
    let cancel = CancelToken::new();
    fail_at(128 + 512 + 10, &cancel);
    assert!(matches!(sampling.compare(&cancel), Err(Error::Cancelled)));
    assert_eq!(looks(), 128 + 512 + 64);
    assert_eq!(sampling.compare(&CancelToken::new()).expect("a comparison").hits, 0);
}

#[test]
fn a_plan_for_other_blocks_is_refused() {
    let (small, _) = fake(&[100]);
    let (large, _) = fake(&[10_000]);
    let (two, _) = fake(&[100, 100]);
    let cancel = CancelToken::new();
    for reader in [small, two] {
        let plan = plan(&large, 16384);
        assert!(matches!(Sampling::begin(reader, plan, &cancel), Err(Error::Argument(_))));
    }
}

#[test]
fn a_reader_that_shows_too_little_is_caught() {
    struct Half(Fake);
    impl PageReader for Half {
        fn page_size(&self) -> u64 {
            PAGE
        }
        fn blocks(&self) -> &[PageBlock] {
            &self.0.blocks
        }
        fn read(&mut self, block: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
            self.0.read(block, &looks[..looks.len() / 2], visit)
        }
    }
    let (reader, _) = fake(&[1024]);
    let plan = plan(&reader, 16384);
    let boxed: Box<dyn PageReader> = Box::new(Half(reader));
    assert!(matches!(Sampling::begin(boxed, plan, &CancelToken::new()), Err(Error::State(_))));
}

#[test]
fn a_reader_that_shows_another_number_of_bytes_than_a_page_has_is_caught() {
    /// Shows so many bytes as a page, in each pass.
    #[derive(Debug)]
    struct Cut(Vec<PageBlock>, Vec<usize>);
    impl PageReader for Cut {
        fn page_size(&self) -> u64 {
            PAGE
        }
        fn blocks(&self) -> &[PageBlock] {
            &self.0
        }
        fn read(&mut self, _: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
            let page = vec![7; self.1.remove(0)];
            (0..looks.len()).for_each(|place| visit(place, Contents::Bytes(&page)));
            Ok(())
        }
    }
    let (page, cancel) = (PAGE as usize, CancelToken::new());
    let blocks = vec![PageBlock { name: "ram".to_owned(), guest_address: 0, pages: 4 }];
    let plan = Plan::new(&blocks, PAGE, PlanOptions::default()).expect("a good plan");
    let begin = |lengths: &[usize]| Sampling::begin(Cut(blocks.clone(), lengths.to_vec()), plan.clone(), &cancel);
    let check = |error: Error, bytes: usize| {
        let text = format!("a reader of pages showed {bytes} bytes as a page, which is not its page size");
        assert!(matches!(&error, Error::State(found) if *found == text), "{error}");
    };
    for bytes in [0, 1, page - 1, page + 1, 2 * page] {
        check(begin(&[bytes]).expect_err("the first look"), bytes);
        let mut sampling = begin(&[page, bytes, page]).expect("a page");
        check(sampling.compare(&cancel).expect_err("a comparison"), bytes);
        assert_eq!(sampling.compare(&cancel).expect("a page").hits, 0, "nothing was taken for a change");
    }
}

#[test]
fn a_page_size_that_is_no_power_of_two_is_an_error() {
    struct Sized(u64);
    impl PageReader for Sized {
        fn page_size(&self) -> u64 {
            self.0
        }
        fn blocks(&self) -> &[PageBlock] {
            &[]
        }
        fn read(&mut self, _: usize, _: &[Look], _: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
            Ok(())
        }
    }
    let begin = |page_size| {
        let plan = Plan::new(&[], PAGE, PlanOptions::default()).expect("a good plan");
        Sampling::begin(Sized(page_size), plan, &CancelToken::new()).map(drop)
    };
    for wrong in [0, 3000, u64::MAX] {
        assert!(matches!(begin(wrong), Err(Error::Argument(_))), "{wrong}");
    }
    assert!(matches!(begin(1 << 63), Err(Error::OutOfMemory { .. })));
    begin(1).expect("the smallest page");
}

/// A reader that shows each page twice, or the pages backwards, or places past those it was asked for: an error in
/// either pass, no panic, and no sample that is judged by another one's contents.
#[test]
fn a_reader_that_shows_what_it_was_not_asked_for_is_caught() {
    struct Odd {
        fake: Fake,
        /// Which places it shows, of so many.
        places: fn(usize) -> Vec<usize>,
    }
    impl PageReader for Odd {
        fn page_size(&self) -> u64 {
            PAGE
        }
        fn blocks(&self) -> &[PageBlock] {
            &self.fake.blocks
        }
        fn read(&mut self, _: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
            for place in (self.places)(looks.len()) {
                visit(place, Contents::Untouched);
            }
            Ok(())
        }
    }
    let odd: [fn(usize) -> Vec<usize>; 4] = [
        |count| (0..count).flat_map(|place| [place; 2]).collect(),
        |count| (0..count).rev().collect(),
        |count| (0..count + 1).collect(),
        |count| (100..100 + count).collect(),
    ];
    for places in odd {
        let cancel = CancelToken::new();
        let begin = |places| {
            let (fake, _) = fake(&[1024]);
            let plan = plan(&fake, 16384);
            Sampling::begin(Odd { fake, places }, plan, &cancel)
        };
        assert!(matches!(begin(places), Err(Error::State(_))));
        let mut sampling = begin(|count| (0..count).collect()).map_err(|error| error.to_string()).expect("as asked");
        sampling.reader_mut().places = places;
        assert!(matches!(sampling.compare(&cancel), Err(Error::State(_))));
    }
}

/// A block goes away once.
#[test]
fn a_second_removal_of_a_block_changes_nothing() {
    let (reader, _) = fake(&[64]);
    let plan = plan(&reader, 16384);
    let cancel = CancelToken::new();
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    let went = Instant::now();
    sampling.remove(0, went);
    sampling.remove(0, went + Duration::from_secs(3600));
    let began = sampling.began();
    let found = sampling.compare(&cancel).expect("a comparison");
    assert!(found.blocks[0].removed && found.blocks[0].window <= went - began);
}

/// The block that a machine's RAM gains: `Fake` has its pages already.
fn gain(sampling: &mut Sampling<Fake>, state: &Mutex<State>, pages: u64) {
    state.lock().expect("not poisoned").pages.push(vec![None; pages as usize]);
    let block = PageBlock { name: "new".to_owned(), guest_address: 1 << 50, pages };
    sampling.reader_mut().blocks.push(block);
}

#[test]
fn a_block_that_comes_was_zero_and_never_looked_at() {
    let (reader, state) = fake(&[3000]);
    let plan = plan(&reader, 16384);
    let cancel = CancelToken::new();
    let mut sampling = Sampling::begin(reader, plan.clone(), &cancel).expect("a first look");
    assert!(matches!(sampling.add_zeroed(Instant::now()), Err(Error::Argument(_))), "none has come");
    gain(&mut sampling, &state, 1600);
    let opened = Instant::now();
    sampling.add_zeroed(opened).expect("it has come");
    let looks = std::mem::take(&mut state.lock().expect("not poisoned").looks);
    assert!(looks.iter().all(|(block, _)| *block == 0));
    assert_eq!(sampling.plan().blocks()[0], plan.blocks()[0], "what was chosen stays chosen");
    let chosen = sampling.plan().blocks()[1].clone();
    assert_eq!(chosen.len(), 100);

    // Zeros that somebody wrote are what was there.
    change(&state, |block, page| block == 1 && page % 2 == 0, Some(0));
    change(&state, |block, page| block == 1 && page % 3 == 0, Some(7));
    let found = sampling.compare(&cancel).expect("a comparison");
    let hits = chosen.iter().filter(|&&page| page.is_multiple_of(3)).count() as u64;
    let new = &found.blocks[1];
    assert_eq!((new.samples, new.hits, new.zero_pages, new.untouched_pages), (100, hits, 100, 100));
    assert!(new.window <= opened.elapsed() && !new.window.is_zero());
    assert_eq!((found.pages, found.hits, found.blocks[0].hits), (4600, hits, 0));

    // The same blocks in the same order: the same choice; and another block is another choice.
    let mut again = plan.clone();
    again.add(&sampling.reader_mut().blocks[1].clone(), PAGE).expect("a plan");
    assert_eq!(&again, sampling.plan());
    again.add(&sampling.reader_mut().blocks[1].clone(), PAGE).expect("a plan");
    assert_ne!(again.blocks()[1], again.blocks()[2]);
}

#[test]
fn a_block_that_goes_has_the_window_until_then() {
    let (reader, state) = fake(&[4096, 4096, 4096]);
    let plan = plan(&reader, 16384);
    let cancel = CancelToken::new();
    let before = Instant::now();
    let mut sampling = Sampling::begin(reader, plan, &cancel).expect("a first look");
    change(&state, |block, page| block == 1 && page % 4 == 0, Some(2));
    // One goes now, and one went before its pages were looked at.
    let gone = Instant::now();
    sampling.remove(1, gone);
    sampling.remove(2, before);
    std::thread::sleep(Duration::from_millis(5));
    let found = sampling.compare(&cancel).expect("a comparison");
    assert_eq!(found.blocks.iter().map(|block| block.removed).collect::<Vec<_>>(), [false, true, true]);
    assert!(found.blocks[1].window <= gone - before && !found.blocks[1].window.is_zero());
    assert!(found.blocks[0].window >= Duration::from_millis(5));
    assert_eq!(found.blocks[2].window, Duration::ZERO);
    assert!(found.blocks[1].hits > 0 && found.blocks[2].hits == 0);

    // What was never watched says nothing about a rate, and does not make it less certain.
    let intervals = Intervals::default();
    let rate = found.rate(&intervals);
    let watched = Sampled { blocks: found.blocks[..2].to_vec(), ..found.clone() }.rate(&intervals);
    assert_eq!((rate.bytes_per_second, rate.interval), (watched.bytes_per_second, watched.interval));
    let most = found.blocks[..2].iter().map(|block| 4096.0 * PAGE as f64 / block.window.as_secs_f64()).sum::<f64>();
    assert!(rate.interval.high < most);
    let none = Sampled { blocks: found.blocks[2..].to_vec(), ..found }.rate(&intervals);
    assert_eq!((none.bytes_per_second, none.interval.low, none.interval.high), (0.0, 0.0, 0.0));
}

#[test]
fn regions_and_cells_have_their_own_samples() {
    const REGION: u64 = (1 << 30) / PAGE;
    // No power of two, so that cells lie across the borders of regions.
    const CELL: u64 = 3000;
    // Two whole regions and a rest that is no multiple of 2 MiB; one region and one page; less than a region.
    let sizes = [2 * REGION + 1000, REGION + 1, 300];
    for design in Design::ALL {
        let (reader, state) = fake(&sizes);
        let options = PlanOptions { samples_per_gib: 200, design, seed: 3, cell_bytes: Some(CELL * PAGE) };
        let plan = Plan::new(&reader.blocks, PAGE, options).expect("a plan");
        let cancel = CancelToken::new();
        let mut sampling = Sampling::begin(reader, plan.clone(), &cancel).expect("begun");
        // A part of the second region of block 0, its rest, and all of block 2.
        let is_dirty = |block, page| match block {
            0 => (REGION + 5000..REGION + 90_000).contains(&page) || page >= 2 * REGION,
            other => other == 2,
        };
        change(&state, is_dirty, Some(7));
        let sampled = sampling.compare(&cancel).expect("compared");
        let intervals = Intervals::default();
        for ((block, found), &size) in sampled.blocks.iter().enumerate().zip(&sizes) {
            let firsts: Vec<_> = found.regions.iter().map(|region| region.first_page).collect();
            assert_eq!(firsts, (0..size.div_ceil(REGION)).map(|number| number * REGION).collect::<Vec<_>>());
            assert_eq!(found.regions.iter().map(|region| region.pages).sum::<u64>(), size);
            assert_eq!(found.regions.iter().map(|region| region.samples).sum::<u64>(), found.samples);
            assert_eq!(found.regions.iter().map(|region| region.hits).sum::<u64>(), found.hits);
            let counted = |part: std::ops::Range<u64>| {
                let samples = || plan.blocks()[block].iter().filter(|&page| part.contains(page));
                (samples().count() as u64, samples().filter(|&&page| is_dirty(block, page)).count() as u64)
            };
            assert_eq!(found.cells.len() as u64, size.div_ceil(CELL));
            for ((first, cell), estimate) in
                (0..size).step_by(CELL as usize).zip(&found.cells).zip(found.cell_pages(CELL))
            {
                let (n, hits) = counted(first..first + CELL);
                assert_eq!((u64::from(cell.samples), u64::from(cell.hits)), (n, hits), "{design:?}, {block}, {first}");
                let pages = CELL.min(size - first) as f64;
                assert_eq!(estimate, if n == 0 { 0.0 } else { pages * hits as f64 / n as f64 });
            }
            for region in &found.regions {
                let (n, hits) = counted(region.first_page..region.first_page + region.pages);
                assert_eq!((region.samples, region.hits), (n, hits), "{design:?}, block {block}, {region:?}");
                let estimate = found.region_pages(region, &intervals);
                let pages = region.pages as f64;
                if n == 0 {
                    assert_eq!((estimate.interval.low, estimate.interval.high), (0.0, pages), "nothing is known");
                    assert_eq!(estimate.pages, found.dirty(&intervals).fraction * pages);
                } else {
                    let interval = intervals.interval(hits as f64, n as f64);
                    assert!((estimate.pages - hits as f64 / n as f64 * pages).abs() < 1e-6);
                    assert!((estimate.interval.low - interval.low * pages).abs() < 1e-6);
                    assert!((estimate.interval.high - interval.high * pages).abs() < 1e-6);
                }
            }
        }
        let hits: Vec<Vec<_>> = sampled.blocks.iter().map(|of| of.regions.iter().map(|of| of.hits).collect()).collect();
        assert!(hits[0][0] == 0 && hits[0][1] > 0 && hits[1][0] == 0 && hits[2][0] > 0, "{hits:?}");
        // A region that is one page of 262,145 has no sample with this seed.
        assert_eq!(sampled.blocks[1].regions[1].samples, 0, "{design:?}");
    }
}
