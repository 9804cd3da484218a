use super::super::testing::{FakeGuest, Logging, build, ram, workloads};
use super::super::{Kind, Pacing};
use super::*;

/// Checks without cancelling.
fn confirm(program: &Program, memory: &dyn GuestWords, at: &Counters) -> Result<(), Mismatch> {
    program.confirm_contents(memory, at, &mut || true).expect("nobody stops it")
}

#[test]
fn the_pages_of_a_guest_stopped_anywhere_confirm_its_counters() {
    for (seed, workload) in (1..).zip(workloads(60)) {
        let program = build(&workload, &ram()).unwrap().into_parts().1;
        let guest = FakeGuest::new(&program, seed * 0x777, Logging::ByFault);
        for _ in 0..40 {
            if workload.pacing == Pacing::Granted {
                guest.grant(50);
            }
            guest.run(100);
            let still = guest.still();
            let at = program.counters(&still, guest.grants());
            assert_eq!(confirm(&program, &still, &at), Ok(()), "{workload:?}");
        }
    }
}

#[test]
fn a_page_that_is_wrong_is_named() {
    for workload in workloads(60) {
        let program = build(&workload, &ram()).unwrap().into_parts().1;
        let guest = FakeGuest::new(&program, 0x999, Logging::ByFault);
        if workload.pacing == Pacing::Granted {
            guest.grant(100);
        }
        guest.run(3000);
        let still = guest.still();
        let at = program.counters(&still, guest.grants());
        for index in [0, 1, 7] {
            let page = program.page(0, index);
            let right = still.load(page);
            // A value that no vCPU stores, and one that vCPU 0 will store, but not yet.
            for wrong in [0xbad << 48, program.value(0, at.writes[0] + 1)] {
                if wrong == right {
                    continue;
                }
                still.store(page, wrong);
                let mismatch = confirm(&program, &still, &at).unwrap_err();
                assert_eq!((mismatch.guest_address, mismatch.found), (page, wrong));
                assert!(mismatch.expected.contains(&right));
                assert!(mismatch.to_string().contains(&format!("{right:#x}")));
            }
            still.store(page, right);
        }
        assert_eq!(confirm(&program, &still, &at), Ok(()));
    }
}

#[test]
fn the_write_under_way_is_allowed_only_while_there_can_be_one() {
    for workload in workloads(60) {
        if workload.kind == Kind::Idle {
            continue;
        }
        let program = build(&workload, &ram()).unwrap().into_parts().1;
        let guest = FakeGuest::new(&program, 0x999, Logging::ByFault).still();
        guest.store(program.page(0, 0), program.value(0, 0));
        let at = |budget| Counters {
            writes: vec![0; workload.vcpus as usize],
            budgets: vec![budget; workload.vcpus as usize],
            grants: 1,
        };
        assert_eq!(confirm(&program, &guest, &at(1)), Ok(()));
        let mismatch = confirm(&program, &guest, &at(0)).unwrap_err();
        assert_eq!(mismatch.expected, [0]);
    }
}
