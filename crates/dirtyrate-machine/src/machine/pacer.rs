//! A thread that grants writes to a guest at a rate, as long as the machine runs.

use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::guest::Guest;
use crate::vcpu::RunState;
use dirtyrate::{CancelToken, Result, threads};

/// How often the budget is raised.
const PACE: Duration = Duration::from_millis(2);

/// The longest time for which writes are granted at once. If the host stood still for longer (SIGSTOP, a frozen control
/// group), the guest stood still too. Granting the writes of that time afterwards would cause a burst that nobody asked
/// for.
const LONGEST_GRANT: Duration = Duration::from_millis(100);

/// The writes that are due to a guest.
struct Budget {
    writes_per_second: f64,
    /// Writes that are due and not granted yet; a fraction of a write is carried over.
    due: f64,
    /// The vCPU that gets the next write if the writes cannot be divided evenly.
    turn: u32,
}

impl Budget {
    fn new(writes_per_second: f64) -> Self {
        Self { writes_per_second, due: 0.0, turn: 0 }
    }

    /// The writes that are due to each of `vcpus` after `passed`; `None` if not even one whole write is due.
    fn after(&mut self, passed: Duration, vcpus: u32) -> Option<impl Fn(u32) -> u64 + use<>> {
        self.due += self.writes_per_second * passed.min(LONGEST_GRANT).as_secs_f64();
        let whole = self.due as u64;
        if whole == 0 {
            return None;
        }
        self.due -= whole as f64;
        let (each, rest) = (whole / u64::from(vcpus), (whole % u64::from(vcpus)) as u32);
        let turn = self.turn;
        self.turn = (turn + rest) % vcpus;
        Some(move |vcpu: u32| each + u64::from((vcpu + vcpus - turn) % vcpus < rest))
    }
}

/// The thread that grants writes to a guest, until this is dropped or the guest is gone.
pub(super) struct Pacer {
    ended: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl Pacer {
    /// Grants `guest` `bytes_per_second` from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`](dirtyrate::Error::Limit) if the host allows no more threads.
    pub fn start(guest: &Arc<Guest>, bytes_per_second: f64) -> Result<Self> {
        let budget = Budget::new(bytes_per_second / guest.program().page_size() as f64);
        let (guest, ended) = (Arc::downgrade(guest), CancelToken::new());
        let until = ended.clone();
        let thread = Some(threads::spawn("pacer", move || run(&guest, &until, budget))?);
        Ok(Self { ended, thread })
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            // The only possible failure is a panic of the thread, and then it has ended as well.
            let _ = thread.join();
        }
    }
}

fn run(guest: &Weak<Guest>, ended: &CancelToken, mut budget: Budget) {
    let mut last = Instant::now();
    while ended.sleep_until(last + PACE).is_ok() {
        let now = Instant::now();
        let passed = now - last;
        last = now;
        let Some(guest) = guest.upgrade() else { return };
        let Some(vm) = guest.vm() else { return };
        let running = vm.vcpus().is_ok_and(|vcpus| vcpus.state() == RunState::Running);
        if !running || !guest.ready() {
            continue;
        }
        if let Some(due) = budget.after(passed, guest.program().vcpus())
            && guest.grant_each(due).is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(budget: &mut Budget, passed: Duration, vcpus: u32) -> Vec<u64> {
        let due = budget.after(passed, vcpus);
        (0..vcpus).map(|vcpu| due.as_ref().map_or(0, |due| due(vcpu))).collect()
    }

    #[test]
    fn fractions_are_carried_over_and_the_rest_goes_round() {
        let mut budget = Budget::new(1250.0);
        let mut sum = vec![0; 3];
        for _ in 0..500 {
            for (sum, granted) in sum.iter_mut().zip(granted(&mut budget, PACE, 3)) {
                *sum += granted;
            }
        }
        // 1250 writes in a second, but for the fraction that is left over.
        assert!((1249..=1250).contains(&sum.iter().sum::<u64>()), "{sum:?}");
        assert!(sum.iter().max().unwrap() - sum.iter().min().unwrap() <= 1, "{sum:?}");
    }

    #[test]
    fn a_host_that_stood_still_does_not_make_up_for_it() {
        let mut budget = Budget::new(5000.0);
        let writes = granted(&mut budget, Duration::from_secs(3), 1)[0];
        assert_eq!(writes, (5000.0 * LONGEST_GRANT.as_secs_f64()) as u64);
        assert_eq!(granted(&mut budget, PACE, 1), [10], "and then its own pace again");
    }
}
