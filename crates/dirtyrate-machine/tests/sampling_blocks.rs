//! Page sampling of real guests while something happens within the window: RAM is added and removed, or the guest is
//! paused, or crashes. The tests also check the trace events.

#[path = "../../dirtyrate/tests/sampling_support/mod.rs"]
mod sampling_support;
mod support;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dirtyrate::sampling::{BlockSampled, Design, Intervals, PageBlock, Plan, PlanOptions};
use dirtyrate::{BlockInfo, CancelToken, Error, Result};
use dirtyrate_machine::MachineError;
use dirtyrate_machine::vm::BlockSpec;
use dirtyrate_machine::workload::{Kind, Pacing, PageSet};
use dirtyrate_machine::{Guest, Machine, SampleOptions, SampleReport, UnknownMmio};
use sampling_support::{Listener, Traced};
use support::*;
use tracing::Dispatch;
use tracing::dispatcher::with_default;
use twox_hash::XxHash3_64;

const SAMPLES_PER_GIB: u32 = 16_384;
const SEED: u64 = 5;

fn plug() -> BlockSpec {
    block("plug", 4 * GIB, 200 * 64 + 3)
}

/// A guest that writes what it is granted, to all three blocks, and whose writes to what is not there go nowhere.
fn standing() -> (Arc<Machine>, Arc<Guest>) {
    let blocks = vec![block("low", 0, 8192 + 3), plug(), block("high", 8 * GIB, 515)];
    let mut options = options(blocks, 2);
    options.unknown_mmio = UnknownMmio::Ignore;
    let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
    let guest = run(&machine, &workload(Kind::Stride, 3000, 2, Pacing::Granted));
    machine.settled(&CancelToken::new()).expect("it stands");
    (Arc::new(machine), guest)
}

fn plan(machine: &Machine) -> Plan {
    let blocks: Vec<_> = machine.vm().blocks().iter().map(PageBlock::from).collect();
    let options =
        PlanOptions::default().with_samples_per_gib(SAMPLES_PER_GIB).with_design(Design::Stratified).with_seed(SEED);
    Plan::new(&blocks, page_size(), options).expect("a plan")
}

/// Samples, and runs `action` after the first look and before the first comparison.
fn sample(
    machine: &Arc<Machine>,
    deadlines: &[Duration],
    action: impl FnOnce() + Send + 'static,
) -> (Result<Vec<SampleReport>>, Vec<Traced>) {
    let looks = plan(machine).samples() as usize;
    let listener = Arc::new(Listener::new(looks, Box::new(action)));
    let options = SampleOptions {
        samples_per_gib: SAMPLES_PER_GIB,
        design: Design::Stratified,
        seed: Some(SEED),
        intervals: Intervals::default(),
        cell_bytes: None,
    };
    let sampled = with_default(&Dispatch::from(Arc::clone(&listener)), || {
        machine.sample_at(&options, deadlines, &CancelToken::new())
    });
    (sampled, listener.heard())
}

/// What an action leaves for the test to see.
#[derive(Debug, Clone)]
struct Note<T>(Arc<Mutex<Option<T>>>);

impl<T> Note<T> {
    fn new() -> Self {
        Self(Arc::default())
    }

    fn leave(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }

    fn take(&self) -> T {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().expect("the action has run")
    }
}

/// How many of a block's samples are of these pages of the guest.
fn samples_in(samples: &[u64], block: &BlockInfo, pages: &PageSet) -> u64 {
    let first = block.guest_address / page_size();
    samples.iter().filter(|&&page| pages.contains(first + page)).count() as u64
}

fn find<'a>(report: &'a SampleReport, name: &str) -> &'a BlockSampled {
    report.sampled.blocks.iter().find(|block| block.name == name).expect("it was sampled")
}

#[test]
fn a_block_that_goes_counts_by_what_was_written_before() {
    if !kvm() {
        return;
    }
    let (machine, guest) = standing();
    let plan = plan(&machine);
    let blocks = machine.vm().blocks();
    let from = guest.counters();
    let note = Note::new();
    let began = Instant::now();
    let (sampled, heard) = sample(&machine, &[Duration::ZERO, Duration::from_millis(1)], {
        let (machine, guest, note) = (Arc::clone(&machine), Arc::clone(&guest), note.clone());
        move || {
            let looked = Instant::now();
            make(&machine, &guest, 700);
            let written = guest.counters();
            let before = Instant::now();
            machine.vm().remove_block("plug").expect("removed");
            let removed = Instant::now();
            // Writes that find no plug any more.
            make(&machine, &guest, 700);
            note.leave((written, looked, before, removed, Instant::now()));
        }
    });
    let reports = sampled.expect("it samples");
    let (written, looked, before, removed, ended) = note.take();
    let in_all = guest.truth(&from, &guest.counters()).written;
    let in_plug = guest.truth(&from, &written).written;
    for (report, again) in reports.iter().zip([false, true]) {
        // The guest stood still at both ends of the window, whatever a listener did between the passes.
        let truth = guest.truth(&from, &guest.counters());
        assert_eq!(report.truth.as_ref(), Some(&truth));
        for (samples, block) in plan.blocks().iter().zip(&blocks) {
            let gone = block.name == "plug";
            let expected = samples_in(samples, block, if gone { &in_plug } else { &in_all });
            let found = find(report, &block.name);
            assert_eq!(
                (found.samples, found.hits, found.removed),
                (samples.len() as u64, expected, gone),
                "{}",
                block.name
            );
            assert_eq!(found.new_hits, if again { 0 } else { expected });
            let (least, most) =
                if gone { (before - looked, removed - began) } else { (ended - looked, began.elapsed()) };
            assert!((least..=most).contains(&found.window), "{}: {:?}", block.name, found.window);
        }
        assert!(
            find(report, "plug").hits > 10
                && samples_in(&plan.blocks()[1], &blocks[1], &in_all) > find(report, "plug").hits
        );
        let rate = |block: &BlockSampled| block.rate(&Intervals::default()).bytes_per_second;
        let rates: f64 = report.sampled.blocks.iter().map(rate).sum();
        assert!((report.sampled.rate(&Intervals::default()).bytes_per_second / rates - 1.0).abs() < 1e-9);
    }
    let gone: Vec<_> = heard.iter().filter(|event| event.name == "find_page_matched").collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].fields["idstr"], "plug");
}

/// Pages of the plug that are not all zeros any more: the guest writes no zero, and new memory is zero.
fn written_in_plug(machine: &Machine) -> PageSet {
    let first = plug().guest_address / page_size();
    let is_written = |page: &u64| {
        let mut word = [0; 8];
        machine.vm().read_memory(page * page_size(), &mut word).expect("RAM");
        word != [0; 8]
    };
    (first..first + plug().bytes / page_size()).filter(is_written).collect()
}

#[test]
fn a_block_that_comes_is_sampled_from_its_first_write() {
    if !kvm() {
        return;
    }
    for goes_again in [false, true] {
        let (machine, guest) = standing();
        machine.vm().remove_block("plug").expect("removed");
        let mut plan = plan(&machine);
        let note = Note::new();
        let began = Instant::now();
        let (sampled, _) = sample(&machine, &[Duration::ZERO, Duration::from_millis(1)], {
            let (machine, guest, note) = (Arc::clone(&machine), Arc::clone(&guest), note.clone());
            move || {
                let before = Instant::now();
                let added = machine.vm().add_block(&plug()).expect("added");
                let after = Instant::now();
                make(&machine, &guest, 700);
                let written = (written_in_plug(&machine), Instant::now());
                if goes_again {
                    machine.vm().remove_block("plug").expect("removed");
                    make(&machine, &guest, 700);
                }
                note.leave((added, before, after, written, Instant::now()));
            }
        });
        let reports = sampled.expect("it samples");
        let (added, before, after, (written, seen), ended) = note.take();
        plan.add(&PageBlock::from(&added), page_size()).expect("a plan");
        let samples = &plan.blocks()[2];
        let expected = samples_in(samples, &added, &written);
        assert!(expected > 10 && expected < samples.len() as u64);
        for (report, new) in reports.iter().zip([expected, 0]) {
            assert_eq!(report.sampled.blocks.len(), 3);
            let found = find(report, "plug");
            assert_eq!((found.samples, found.hits, found.new_hits), (samples.len() as u64, expected, new));
            assert_eq!((found.zero_pages, found.untouched_pages), (found.samples, found.samples));
            assert_eq!(found.removed, goes_again);
            let most = if goes_again { ended - before } else { began.elapsed() };
            assert!((seen - after..=most).contains(&found.window), "{:?}", found.window);
            assert_eq!(report.sampled.pages, find(report, "low").pages + find(report, "high").pages + added.pages);
        }
    }
}

#[test]
fn a_pause_or_a_crash_within_the_window_is_an_error() {
    if !kvm() {
        return;
    }
    let window = [Duration::from_millis(1)];
    type Happens = fn(&Machine, &Guest);
    let pauses: [Happens; 2] = [
        |machine, _| machine.pause().expect("paused"),
        |machine, _| machine.pause().and_then(|()| machine.resume()).expect("it goes on"),
    ];
    for happens in pauses {
        let (machine, guest) = standing();
        let (sampled, _) = sample(&machine, &window, {
            let machine = Arc::clone(&machine);
            move || happens(&machine, &guest)
        });
        assert!(matches!(sampled, Err(Error::Paused(_))), "{sampled:?}");
    }
    // A guest that writes where nothing is, with nobody to ignore it, is at its end.
    let machine = Arc::new(machine(vec![block("low", 0, 8192), plug()], 1));
    let guest = run(&machine, &workload(Kind::Stride, 3000, 1, Pacing::Granted));
    let (sampled, _) = sample(&machine, &[Duration::from_secs(3600)], {
        let machine = Arc::clone(&machine);
        move || {
            machine.vm().remove_block("plug").expect("removed");
            guest.grant(3000).expect("granted");
        }
    });
    let error = sampled.expect_err("the guest must crash");
    let Some(MachineError::GuestCrashed { reason, .. }) = MachineError::of(&error) else { panic!("{error}") };
    assert!(reason.contains("MMIO"), "{reason}");
}

#[test]
fn every_look_is_traced_with_what_it_saw() {
    if !kvm() {
        return;
    }
    let (machine, guest) = standing();
    let plan = plan(&machine);
    let names = machine.vm().blocks();
    let planned: Vec<_> = names
        .iter()
        .zip(plan.blocks())
        .flat_map(|(block, pages)| pages.iter().map(|&page| (block.name.clone(), page)))
        .collect();
    let (sampled, heard) = sample(&machine, &[Duration::ZERO, Duration::from_millis(1)], {
        let machine = Arc::clone(&machine);
        move || make(&machine, &guest, 900)
    });
    let reports = sampled.expect("it samples");
    let (first, rest) = heard.split_at(planned.len());
    let look = |event: &Traced| (event.fields["idstr"].clone(), event.number("vfn"));
    assert!(first.iter().all(|event| event.name == "get_ramblock_vfn_hash"));
    assert_eq!(first.iter().map(look).collect::<Vec<_>>(), planned, "each sample is looked at once, in order");
    let zero = u64::from(XxHash3_64::oneshot(&vec![0; page_size() as usize]) as u32);
    let zeros = first.iter().filter(|event| event.number("hash") == zero).count() as u64;
    assert_eq!(zeros, reports[0].sampled.zero_pages);

    // A comparison: a look at every sample that has not changed so far, and right after it the change, if there is one.
    let mut rest = rest.iter().peekable();
    let mut changed = vec![false; planned.len()];
    for report in &reports {
        let mut hits = 0;
        for (sample, changed) in changed.iter_mut().enumerate().filter(|(_, changed)| !**changed) {
            let event = rest.next().expect("a look");
            assert_eq!((event.name.as_str(), look(event)), ("get_ramblock_vfn_hash", planned[sample].clone()));
            let (old, new) = (first[sample].number("hash"), event.number("hash"));
            let change = rest.next_if(|event| event.name == "calc_page_dirty_rate");
            assert_eq!(change.is_some(), old != new, "{event:?}");
            if let Some(change) = change {
                assert_eq!(change.fields["idstr"], planned[sample].0);
                assert_eq!((change.number("old_hash"), change.number("new_hash")), (old, new));
                *changed = true;
                hits += 1;
            }
        }
        assert_eq!(hits, report.sampled.new_hits);
    }
    assert!(rest.next().is_none() && reports[0].sampled.new_hits > 10);
}
