use std::collections::BTreeSet;

use super::super::testing::{FakeGuest, Logging, PAGE_SIZES, build, build_for, ram, ram_in, workloads};
use super::super::{Kind, Pacing, Workload};
use super::*;

fn naive(program: &Program, from: &Counters, to: &Counters) -> PageSet {
    let mut frames = BTreeSet::new();
    for vcpu in 0..program.vcpus() {
        for index in from.writes[vcpu as usize]..to.writes[vcpu as usize] {
            frames.insert(program.page(vcpu, index) / program.page_size());
            frames.insert(program.mailbox_page(vcpu) / program.page_size());
        }
    }
    if from.grants != to.grants {
        frames.insert(program.control_page() / program.page_size());
    }
    frames.into_iter().collect()
}

#[test]
fn what_was_written_agrees_with_a_replay() {
    for (at, workload) in workloads(777).into_iter().enumerate() {
        let page_size = PAGE_SIZES[at % PAGE_SIZES.len()];
        let program = build_for(&workload, &ram_in(page_size), page_size).unwrap().into_parts().1;
        let counters = |writes: &[u64], grants| Counters {
            writes: (0..workload.vcpus as usize)
                .map(|vcpu| writes[vcpu % writes.len()])
                .map(|writes| if workload.kind == Kind::Idle { 0 } else { writes })
                .collect(),
            budgets: vec![0; workload.vcpus as usize],
            grants,
        };
        for (from, to) in [
            (counters(&[0], 0), counters(&[0], 0)),
            (counters(&[0], 0), counters(&[1, 0, 5], 3)),
            (counters(&[100, 7], 1), counters(&[100, 300, 9], 1)),
            (counters(&[776], 1), counters(&[778], 2)),
            (counters(&[5, 1000], 1), counters(&[4000, 1001], 9)),
        ] {
            assert_eq!(program.written(&from, &to), naive(&program, &from, &to), "{workload:?}");
            let (bounds, written) = program.sets((&from, &from), (&to, &to), &mut || true).expect("nobody stops it");
            assert_eq!(written, program.written(&from, &to), "{workload:?}");
            let counts = program.counts((&from, &from), (&to, &to), &mut || true).expect("nobody stops it");
            let lengths = [&bounds.lower, &written, &bounds.upper].map(|set| set.len() as u64);
            assert_eq!([counts.lower, counts.written, counts.upper], lengths, "{workload:?}");
            assert_eq!(counts.control, bounds.upper.contains(program.control_page() / page_size));
        }
    }
}

/// Each workload under each way of logging.
fn logged(workloads: Vec<Workload>) -> impl Iterator<Item = (Workload, Logging)> {
    workloads
        .into_iter()
        .flat_map(|workload| [Logging::ByFault, Logging::AfterStore].map(|logging| (workload, logging)))
}

/// The guest goes on between any two reads, so every window begins and ends in the middle of the vCPUs' work.
#[test]
fn the_log_of_a_running_guest_is_within_the_bounds() {
    let (mut exact, mut windows) = (0, 0);
    for (seed, (workload, logging)) in (1..).zip(logged(workloads(60))) {
        // With emulation, a settled vCPU counts only once it has left the guest; here none does.
        if logging == Logging::AfterStore && workload.pacing == Pacing::Granted {
            continue;
        }
        let page_size = PAGE_SIZES[seed as usize % PAGE_SIZES.len()];
        let program = build_for(&workload, &ram_in(page_size), page_size).unwrap().into_parts().1;
        let guest = FakeGuest::new(&program, seed * 0x1_2345, logging);
        for window in 0..60 {
            if workload.pacing == Pacing::Granted {
                guest.grant(40);
            }
            let before_open = guest.counters();
            guest.run(4);
            guest.clear_log();
            guest.run(4);
            let after_open = guest.counters();
            guest.run(if window % 3 == 0 { 2 } else { 200 });
            let before_close = guest.counters();
            guest.run(4);
            let log = guest.log();
            guest.run(4);
            let after_close = guest.counters();

            let edges = ((&before_open, &after_open), (&before_close, &after_close));
            let (bounds, written) = program.sets(edges.0, edges.1, &mut || true).expect("nobody stops it");
            assert_eq!(bounds, program.bounds(edges.0, edges.1));
            assert_eq!(written, program.written(&after_open, &before_close));
            assert!(bounds.lower.is_subset(&written) && written.is_subset(&bounds.upper));
            assert!(bounds.lower.is_subset(&log), "{workload:?}: not logged {:x?}", bounds.lower.difference(&log));
            assert!(log.is_subset(&bounds.upper), "{workload:?}: not possible {:x?}", log.difference(&bounds.upper));
            windows += 1;
            exact += u64::from(bounds.lower == bounds.upper);
        }
    }
    assert!(exact > 0 && exact < windows, "{exact} of {windows} exact");
}

/// For a granted guest that has settled at both ends, both bounds are the same set, and it equals the log.
#[test]
fn a_settled_guest_is_known_exactly() {
    for (seed, (workload, logging)) in (1..).zip(logged(workloads(60))) {
        // Only a guest with a budget can be known to wait.
        if workload.pacing != Pacing::Granted && workload.kind != Kind::Idle {
            continue;
        }
        let program = build(&workload, &ram()).unwrap().into_parts().1;
        let guest = FakeGuest::new(&program, seed * 0x5_4321, logging);
        let settle = || {
            for _ in 0..100_000 {
                guest.run(50);
                let at = program.counters(&guest.still(), guest.grants());
                if at.all_settled() {
                    guest.leave();
                    return at;
                }
            }
            panic!("{workload:?} does not settle");
        };
        let mut from = settle();
        for round in 0..20 {
            guest.clear_log();
            if round % 4 != 3 {
                guest.grant(30);
                guest.grant(30);
            }
            let to = settle();
            let log = guest.log();
            assert_eq!(log, program.written(&from, &to), "{workload:?}");
            let bounds = program.bounds((&from, &from), (&to, &to));
            assert_eq!((&bounds.lower, &bounds.upper), (&log, &log));
            from = to;
        }
    }
}

#[test]
fn a_free_guest_is_known_to_one_page_and_the_mailbox() {
    for workload in workloads(500) {
        if workload.pacing != Pacing::Free || workload.kind == Kind::Idle {
            continue;
        }
        let program = build(&workload, &ram()).unwrap().into_parts().1;
        let at = |writes| Counters {
            writes: vec![writes; workload.vcpus as usize],
            budgets: vec![u64::MAX; workload.vcpus as usize],
            grants: 0,
        };
        let (open, close) = (at(10), at(200));
        let bounds = program.bounds((&open, &open), (&close, &close));
        // One page for each vCPU at each end of the window.
        let slack = bounds.upper.len() - bounds.lower.len();
        assert!(slack <= 2 * workload.vcpus as usize, "{slack}");
        assert!(bounds.lower.is_subset(&program.written(&open, &close)));
        assert!(program.written(&open, &close).is_subset(&bounds.upper));
        // Nothing counted: nothing is sure, but a write may have been made.
        let bounds = program.bounds((&open, &open), (&open, &open));
        assert!(bounds.lower.is_empty());
        assert!(bounds.upper.contains(program.mailbox_page(0) / program.page_size()));
        assert!(bounds.upper.contains(program.page(0, 10) / program.page_size()));
    }
}

/// A caller can cancel the computation for made-up counters, which would take years for a vCPU with 2^53 writes.
#[test]
fn a_computation_that_takes_long_is_ended_by_its_caller() {
    for kind in [Kind::Random, Kind::HotCold] {
        let workload = Workload { kind, pages: 3000, vcpus: 1, ..workloads(3000)[0] };
        let program = build(&workload, &ram()).unwrap().into_parts().1;
        let at = |writes: u64| Counters { writes: vec![writes], budgets: vec![u64::MAX], grants: 0 };
        let (from, to) = (at(0), at(1 << 53));
        let mut looks = 0;
        let stopped = program.counts((&from, &from), (&to, &to), &mut || {
            looks += 1;
            false
        });
        assert_eq!((stopped, looks), (Err(Stopped), 1));
        let all = program.counts((&from, &from), (&to, &to), &mut || true).expect("all pages are seen early");
        assert_eq!(all.written, 3001, "and the mailbox");
    }
}
