//! A window belongs to one client. Other clients, a log that is turned off and on, and pauses do not move it.
//!
//! Tests that move the clock by hand know every length exactly. On a real VM a test reads its own clock around the
//! calls.

mod support;

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dirtyrate::dirty_memory::{
    Client, DirtyMemory, FakeCall, FakeLog, FakeProtect, Reap, Taken, Witness, put_back, sync_at,
};
use dirtyrate::{BlockId, BlockInfo, CancelToken, Error, GuestClock};
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;

const MS: Duration = Duration::from_millis(1);
const RAM: BlockId = BlockId(1);
/// Not a multiple of 64.
const PAGES: u64 = 1000;

/// Dirty memory over a log without a kernel, on a clock that the test moves.
struct ByHand {
    clock: GuestClock,
    log: FakeLog,
    memory: DirtyMemory,
}

impl ByHand {
    fn new(protect: FakeProtect) -> Self {
        let (clock, log) = (GuestClock::by_hand(), FakeLog::new(protect));
        let chunk = 256 * page_size();
        let mut memory = DirtyMemory::with_clock(Box::new(log.clone()), page_size(), chunk, clock.clone());
        log.add_block(RAM, PAGES);
        let info = BlockInfo { id: RAM, name: "ram".to_owned(), guest_address: GIB, pages: PAGES };
        memory.add_block(info).expect("a block");
        Self { clock, log, memory }
    }

    /// The steps 1 to 3 of DIRTY_RATE: its window is open.
    fn measured(protect: FakeProtect) -> Self {
        let mut vm = Self::new(protect);
        vm.start(Client::DirtyRate);
        vm.discard();
        vm.clear(Client::DirtyRate);
        vm
    }

    fn take_bitmap(&mut self) -> (Taken, Vec<u64>) {
        let mut words = vec![0; PAGES.div_ceil(64) as usize];
        let taken = self.memory.take_bitmap(Client::DirtyRate, "ram", &mut words).expect("taken");
        (taken, words)
    }

    fn start(&mut self, client: Client) {
        self.memory.start_tracking(client).expect("step 1");
    }

    fn discard(&mut self) {
        self.memory.discard_initial_log(&CancelToken::new()).expect("step 2");
    }

    fn clear(&mut self, client: Client) {
        self.memory.clear(client).expect("step 3");
    }

    fn sync(&mut self) {
        self.memory.sync(&CancelToken::new()).expect("step 4");
    }

    /// A sync whose first re-protection fails.
    fn fail_to_reprotect(&mut self) {
        self.log.fail(FakeCall::Reprotect, 0);
        self.memory.sync(&CancelToken::new()).expect_err("pages stay unprotected");
    }

    fn stop(&mut self, client: Client) {
        self.memory.stop_tracking(client).expect("stop");
    }

    fn reap(&mut self, client: Client) -> Reap {
        self.memory.reap(client).expect("step 5")
    }

    /// Milliseconds go by, in which the guest writes pages.
    fn run(&mut self, ms: u32, pages: std::ops::Range<u64>) {
        pages.for_each(|page| self.log.guest_write(RAM, page));
        self.clock.advance(ms * MS);
    }

    fn pause(&mut self, ms: u32) {
        self.clock.pause_requested();
        self.clock.guest_stands();
        self.clock.advance(ms * MS);
        self.clock.guest_runs();
    }
}

/// The pages of a reap, its window in milliseconds, and the pages per second that its rate says.
fn figures(reap: &Reap) -> (u64, u128, f64) {
    (reap.pages, reap.window.as_millis(), (reap.bytes_per_second / page_size() as f64).round())
}

const ALL: [FakeProtect; 3] = [FakeProtect::Automatic, FakeProtect::Manual, FakeProtect::ManualInitiallySet];

#[test]
fn syncs_of_others_do_not_move_the_end_of_a_client_that_stopped() {
    for protect in ALL {
        let mut vm = ByHand::new(protect);
        vm.start(Client::Migration);
        vm.start(Client::DirtyRate);
        vm.discard();
        vm.clear(Client::DirtyRate);
        vm.run(200, 0..500);
        vm.stop(Client::DirtyRate);
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (500, 200, 2500.0), "{protect:?}");
        vm.run(1800, 500..1000);
        vm.sync();
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (500, 200, 2500.0), "{protect:?}");
    }
}

#[test]
fn a_log_that_goes_off_and_on_leaves_the_window_of_before() {
    for protect in ALL {
        let mut vm = ByHand::measured(protect);
        vm.run(200, 0..500);
        vm.stop(Client::DirtyRate);
        vm.run(300, 0..700);
        let other = vm.memory.bits().open_accumulator();
        vm.start(other);
        vm.discard();
        vm.run(300, 0..700);
        vm.sync();
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (500, 200, 2500.0), "{protect:?}");
    }
}

#[test]
fn a_client_that_starts_again_leaves_out_the_time_between() {
    for protect in ALL {
        let mut vm = ByHand::measured(protect);
        vm.run(200, 0..300);
        vm.stop(Client::DirtyRate);
        vm.run(5000, 300..400);
        vm.start(Client::DirtyRate);
        vm.discard();
        vm.run(100, 400..600);
        vm.sync();
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (500, 300, (500.0_f64 / 0.3).round()), "{protect:?}");
    }
}

#[test]
fn a_first_round_that_migration_drops_opens_the_window_of_the_others() {
    let mut vm = ByHand::new(FakeProtect::ManualInitiallySet);
    vm.start(Client::DirtyRate);
    vm.start(Client::Migration);
    vm.run(300, 0..500);
    // MIGRATION has every page, and takes them, so no client learns which pages were written until now.
    vm.memory.take(Client::Migration).expect("taken");
    vm.run(100, 500..600);
    vm.sync();
    assert_eq!(figures(&vm.reap(Client::DirtyRate)), (100, 100, 1000.0));
}

#[test]
fn the_steps_may_come_in_another_order() {
    let mut vm = ByHand::new(FakeProtect::ManualInitiallySet);
    vm.start(Client::DirtyRate);
    vm.clear(Client::DirtyRate);
    vm.run(300, 0..500);
    vm.discard();
    vm.run(100, 500..600);
    vm.sync();
    assert_eq!(figures(&vm.reap(Client::DirtyRate)), (100, 100, 1000.0));
}

#[test]
fn a_rate_is_over_the_time_in_which_the_guest_ran() {
    for protect in ALL {
        let mut vm = ByHand::measured(protect);
        vm.run(100, 0..100);
        vm.pause(10_000);
        vm.run(300, 100..400);
        vm.sync();
        let reap = vm.reap(Client::DirtyRate);
        assert_eq!(figures(&reap), (400, 10_400, 1000.0), "{protect:?}");
        assert_eq!(reap.stood, 10_000 * MS, "{protect:?}");
        // What the host writes while the guest stands all the time counts over the whole window.
        vm.clock.guest_stands();
        vm.sync();
        vm.clear(Client::DirtyRate);
        vm.memory.bits().mark_host_write(GIB, 5 * page_size());
        vm.clock.advance(500 * MS);
        vm.sync();
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (5, 500, 10.0), "{protect:?}");
    }
}

#[test]
fn bits_that_are_put_back_bring_their_window_along() {
    for protect in ALL {
        let mut vm = ByHand::measured(protect);
        vm.run(200, 300..1000);
        vm.sync();
        let (taken, mut words) = vm.take_bitmap();
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (0, 0, 0.0), "{protect:?}");

        // Bits behind the last page are none of the block's, and no other size is its bitmap's.
        let mut longer = words.clone();
        longer.push(u64::MAX);
        for wrong in [&longer[..], &words[1..], &[]] {
            let refusal = put_back(&vm.memory.shared_bits(), &taken, wrong).expect_err("another size");
            assert!(matches!(refusal, Error::Argument(_)), "{refusal}");
        }
        assert_eq!(vm.reap(Client::DirtyRate).pages, 0, "nothing came back");
        *words.last_mut().expect("words") |= u64::MAX << (PAGES % 64);
        put_back(&vm.memory.shared_bits(), &taken, &words).expect("put back");
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (700, 200, 3500.0), "{protect:?}");
        vm.run(200, 0..100);
        vm.sync();
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (800, 400, 2000.0), "{protect:?}");

        let (taken, words) = vm.take_bitmap();
        vm.run(100, 0..300);
        vm.sync();
        put_back(&vm.memory.shared_bits(), &taken, &words).expect("put back");
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (1000, 500, 2000.0), "{protect:?}");
    }
}

#[test]
fn bits_that_are_put_back_join_a_window_that_has_gone_on_since() {
    for protect in ALL {
        let mut vm = ByHand::measured(protect);
        vm.run(200, 0..300);
        vm.sync();
        let (taken, words) = vm.take_bitmap();
        vm.run(50, 300..350);
        vm.stop(Client::DirtyRate);
        // Nobody tracks for a second, and the log is off.
        vm.run(1000, 900..1000);
        vm.start(Client::DirtyRate);
        vm.discard();
        vm.run(150, 350..400);
        vm.sync();
        put_back(&vm.memory.shared_bits(), &taken, &words).expect("put back");
        assert_eq!(figures(&vm.reap(Client::DirtyRate)), (400, 400, 1000.0), "{protect:?}");
    }
}

#[test]
fn time_that_a_taken_window_shares_with_the_next_one_counts_once() {
    for protect in [FakeProtect::Manual, FakeProtect::ManualInitiallySet] {
        for put_back_first in [true, false] {
            let mut vm = ByHand::measured(protect);
            vm.run(500, 0..100);
            // The bits reach the client, and the pages stay unprotected: the next window opens where this one did.
            vm.fail_to_reprotect();
            let (taken, words) = vm.take_bitmap();
            let bits = vm.memory.shared_bits();
            if put_back_first {
                put_back(&bits, &taken, &words).expect("put back");
                assert_eq!(figures(&vm.reap(Client::DirtyRate)), (100, 500, 200.0), "{protect:?}");
            }
            vm.run(400, 100..180);
            vm.sync();
            if !put_back_first {
                put_back(&bits, &taken, &words).expect("put back");
            }
            let reap = vm.reap(Client::DirtyRate);
            assert_eq!(figures(&reap), (180, 900, 200.0), "{protect:?}");
            assert_eq!(reap.blocks[0].window, 900 * MS, "{protect:?}");
        }
    }
}

#[test]
fn windows_that_are_put_back_in_any_order_are_as_long_as_one_that_was_never_taken() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for failures in 0..8 {
            for synced_since in [true, false] {
                let mut vm = ByHand::measured(FakeProtect::Manual);
                let mut taken = Vec::new();
                for window in 0..3 {
                    vm.run(100, window * 50..window * 50 + 50);
                    if failures >> window & 1 == 1 {
                        vm.fail_to_reprotect()
                    } else {
                        vm.sync()
                    }
                    taken.push(vm.take_bitmap());
                }
                if synced_since {
                    vm.run(100, 150..200);
                    vm.sync();
                }
                for number in order {
                    put_back(&vm.memory.shared_bits(), &taken[number].0, &taken[number].1).expect("put back");
                }
                let expected = if synced_since { (200, 400, 500.0) } else { (150, 300, 500.0) };
                let found = figures(&vm.reap(Client::DirtyRate));
                assert_eq!(found, expected, "{order:?}, failures {failures:03b}, {synced_since}");
            }
        }
    }
}

#[test]
fn a_client_that_starts_again_over_pages_that_stayed_unprotected_counts_their_time_once() {
    let mut vm = ByHand::measured(FakeProtect::Manual);
    vm.run(200, 0..100);
    // The client stops, and the log cannot be turned off.
    vm.log.fail(FakeCall::SetLogging, 0);
    vm.memory.stop_tracking(Client::DirtyRate).expect_err("the log stays on");
    vm.start(Client::Migration);
    vm.run(300, 100..150);
    vm.fail_to_reprotect();
    vm.start(Client::DirtyRate);
    vm.run(500, 150..200);
    vm.sync();
    // Until the last sync, no page was protected again, so the log has all writes.
    assert_eq!(figures(&vm.reap(Client::DirtyRate)), (200, 1000, 200.0));
}

#[test]
fn a_window_of_several_parts_has_no_two_readings_that_bound_it() {
    struct Ones;
    impl Witness for Ones {
        fn counters(&self) -> Vec<u64> {
            vec![1]
        }
    }
    for protect in ALL {
        let mut vm = ByHand::new(protect);
        vm.memory.set_witness(Some(Arc::new(Ones)));
        vm.start(Client::DirtyRate);
        vm.discard();
        vm.clear(Client::DirtyRate);
        vm.run(200, 0..300);
        vm.sync();
        assert!(vm.reap(Client::DirtyRate).witness.is_some(), "{protect:?}");
        let (taken, words) = vm.take_bitmap();
        put_back(&vm.memory.shared_bits(), &taken, &words).expect("put back");
        assert!(vm.reap(Client::DirtyRate).witness.is_some(), "{protect:?}: nothing was told meanwhile");

        let (taken, words) = vm.take_bitmap();
        vm.run(100, 300..400);
        vm.sync();
        put_back(&vm.memory.shared_bits(), &taken, &words).expect("put back");
        assert_eq!(vm.reap(Client::DirtyRate).witness, None, "{protect:?}");
        // It is no new window: what comes after a stop is a third part of it.
        vm.stop(Client::DirtyRate);
        vm.run(1000, 0..1000);
        vm.start(Client::DirtyRate);
        vm.discard();
        vm.run(100, 400..500);
        vm.sync();
        let reap = vm.reap(Client::DirtyRate);
        assert_eq!(figures(&reap), (500, 400, 1250.0), "{protect:?}");
        assert_eq!(reap.witness, None, "{protect:?}");
    }
}

#[test]
fn a_pause_just_before_the_fetch_is_in_the_window_and_one_after_it_is_not() {
    for protect in ALL {
        for (pause_at_look, refused) in [(1, true), (2, false)] {
            let mut vm = ByHand::measured(protect);
            vm.run(200, 0..300);
            let memory = Mutex::new(vm.memory);
            let looks = Cell::new(0);
            // Asked once before the fetch, since the deadline is over, and once after it.
            let alive = || {
                looks.set(looks.get() + 1);
                if looks.get() == pause_at_look {
                    vm.clock.pause_requested();
                    vm.clock.guest_stands();
                }
                Ok(())
            };
            let lock = || memory.lock().expect("no panic");
            let synced = sync_at(lock, Client::DirtyRate, &[100 * MS], &CancelToken::new(), alive);
            match synced {
                Ok(reports) => assert_eq!((refused, reports[0].reap.pages), (false, 300), "{protect:?}"),
                Err(error) => assert!(refused && matches!(error, Error::Paused(_)), "{protect:?}: {error}"),
            }
            assert_eq!(looks.get(), 2, "{protect:?}");
        }
    }
}

#[test]
fn a_real_window_stays_as_it_was_when_others_go_on() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        let machine = protected(scattered(), 1, protect);
        let guest = run(&machine, &workload(Kind::Random, 3000, 1, Pacing::Granted));
        begin(&machine, Client::Migration);
        let before = Instant::now();
        begin(&machine, Client::DirtyRate);
        make(&machine, &guest, 500);
        machine.vm().lock_dirty_memory().stop_tracking(Client::DirtyRate).expect("stop");
        let longest = before.elapsed();
        let stopped = machine.reap(Client::DirtyRate).expect("step 5");
        let truth = machine.truth(stopped.witness.as_ref()).expect("a workload runs");
        assert!(stopped.window <= longest, "{protect:?}");
        make(&machine, &guest, 300);
        std::thread::sleep(3 * longest);
        sync(&machine);
        // The log goes off and on.
        machine.vm().lock_dirty_memory().stop_tracking(Client::Migration).expect("stop");
        begin(&machine, Client::Migration);
        sync(&machine);
        let later = machine.reap(Client::DirtyRate).expect("step 5");
        assert_eq!(later, stopped, "{protect:?}");
        assert_eq!(machine.truth(later.witness.as_ref()), Some(truth), "{protect:?}");
    }
}

#[test]
fn a_window_that_is_taken_after_a_pause_is_measured() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    run(&machine, &workload(Kind::Random, 3000, 1, Pacing::Free));
    let cancel = CancelToken::new();
    for take in [true, false] {
        begin(&machine, Client::DirtyRate);
        machine.pause().expect("it runs");
        std::thread::sleep(50 * MS);
        machine.resume().expect("it is paused");
        if take {
            machine.take(Client::DirtyRate).expect("taken");
        } else {
            machine.clear(Client::DirtyRate).expect("cleared");
        }
        let reports = machine.sync_at(Client::DirtyRate, &[20 * MS], &cancel).expect("it runs since then");
        let reap = &reports[0].reap;
        assert!(reap.stood >= 50 * MS, "the round began before the pause: {:?}", reap.stood);
        assert!(reap.window - reap.stood >= 20 * MS, "{:?}", reap.window);
    }
}

#[test]
fn a_pause_inside_a_window_takes_no_bit() {
    if !kvm() {
        return;
    }
    let machine = machine(scattered(), 1);
    let guest = run(&machine, &workload(Kind::Random, 3000, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    let from = guest.counters();
    make(&machine, &guest, 100);
    std::thread::scope(|scope| {
        let window = scope.spawn(|| machine.take_at(Client::DirtyRate, 3600 * 1000 * MS, &CancelToken::new()));
        while machine.pause().is_ok() && !window.is_finished() {
            machine.resume().expect("it is paused");
            std::thread::sleep(MS);
        }
        let refusal = window.join().expect("no panic").expect_err("it was paused");
        assert!(matches!(refusal, Error::Paused(_)), "{refusal}");
    });
    machine.resume().expect("it is paused");
    sync(&machine);
    assert_same(
        &take(&machine, Client::DirtyRate),
        &guest.truth(&from, &guest.counters()).written,
        "nothing was taken",
    );
}
