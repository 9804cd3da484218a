//! Which pages were written between two instants.
//!
//! # The argument
//!
//! For its write number `i`, a vCPU does in this order:
//!
//! 1. go on only if `i` is below its budget, and due by its clock where that paces it,
//! 2. `D(i)`: store to the page,
//! 3. `C(i)`: store the count `i + 1` to its mailbox.
//!
//! x86 keeps stores in order, and on arm64 the guest stores the count with release (`guest.s`). So a reader that has
//! read the count `c` knows that `D(i)` and `C(i)` have happened for all `i < c`, and that `C(c)` and everything after
//! it have not. Only `D(c)` is unknown: it may have happened, or may happen at any time. If the count has reached the
//! budget, the vCPU is *settled*: it waits at step 1 of write `c`, and `D(c)` has not begun either. A vCPU that waits
//! for its clock may go on at any time, so it is never settled, and its bounds are the same as for a guest that runs
//! freely.
//!
//! KVM logs a store just before it happens (a write fault is logged, then the store is tried again,
//! and logged afresh if the log was cleared in between) or, where it emulates the guest, just
//! after, but always before the vCPU goes on to its next store. So what a vCPU stored after CLEAR
//! returned is in the log by the time of its next store; of what it stored before CLEAR began, only
//! the very last store can be; and of what it has not stored by the time of GET, only the very next
//! one.
//!
//! That holds where the CPU logs by itself (PML), too: it may mark `D(c + 1)` while `C(c)` still
//! waits in its store buffer, but KVM makes the vCPU exit before it looks at such a log (GET) and
//! after it has reset one (the TLB flush of CLEAR), and an exit empties the store buffer. On arm64
//! each first write to a page faults, and `D(c + 1)` is not tried before `C(c)` was.
//!
//! A window opens with a CLEAR and closes with a GET. With counts read on either side of each,
//! `open.0`, CLEAR, `open.1` … `close.0`, GET, `close.1`, for each vCPU:
//!
//! | | surely logged | possibly logged |
//! |---|---|---|
//! | first `D` | `open.1 + 1`; `open.1` itself if it was settled then | `open.0` |
//! | last `D` | `close.0 - 1` | `close.1`; `close.1 - 1` if it was settled then |
//! | mailbox | if there is a `C` from `open.1` to `close.0 - 2`, or `close.0 - 1` if settled | if there is a possible `D` |
//!
//! (`C(open.1)` had not happened at `open.1`, settled or not; the `C` last seen may still be on its
//! way into the log.)
//!
//! One thing the counters cannot show: with emulation, that the last `C` of a settled vCPU has been logged too. It has
//! been logged once the vCPU has left the guest afterwards, as it does again and again at
//! [`IDLE_PORT`](super::IDLE_PORT), or was paused. Below and in the results, *settled* includes this. Otherwise a
//! mailbox may be logged some nanoseconds late (or a time slice late, if the vCPU's thread is preempted just then), on
//! the other side of an edge.
//!
//! The control page is the host's: it counts its grants itself, under a lock, so a grant is either
//! counted and done or not begun: surely inside if `close.0.grants > open.1.grants`, possibly if
//! `close.1.grants > open.0.grants`.
//!
//! With every vCPU settled and no grant made around both edges, `open.0 == open.1` and `close.0 ==
//! close.1`, and both bounds are `written`.

use std::ops::Range;

use super::page_set::PageSet;
use super::program::{Counters, Program};
use super::replay::Replay;

/// What a log of one window must contain, and what it may contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The pages that were surely written inside the window.
    pub lower: PageSet,
    /// The pages that were possibly written inside it.
    pub upper: PageSet,
}

/// How many pages a guest wrote in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The pages that were surely written.
    pub lower: u64,
    /// The pages that were written by the counters as they were read.
    pub written: u64,
    /// The pages that were possibly written.
    pub upper: u64,
    /// Whether the control page is among the possibly written pages.
    pub control: bool,
}

/// The error of a long computation that its caller has cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped by the caller")]
pub struct Stopped;

/// The counters on both sides of an edge of a window: read before it, and after it.
type Edge<'a> = (&'a Counters, &'a Counters);

impl Program {
    /// Exactly the pages written by the writes that are counted at `to` and not at `from`, with the
    /// mailboxes that counted them, and the control page if there was a grant between.
    ///
    /// That is what a log shows if all vCPUs were settled ([`Counters::all_settled`]) or stopped
    /// *between* two writes at both instants; otherwise see [`bounds`](Self::bounds). Both
    /// instants must be after the guest was [`ready`](Self::ready).
    ///
    /// # Panics
    ///
    /// If the counters are those of a program with fewer vCPUs.
    pub fn written(&self, from: &Counters, to: &Counters) -> PageSet {
        let mut replay = Replay::new(self);
        replay.add(counted(from, to), to.grants > from.grants, &mut || true);
        replay.pages()
    }

    /// What the log of a window must contain, and what it may contain, while the guest runs on. The counters were read
    /// before and after the window was opened, and before and after it was closed. The argument is at the top of
    /// `truth.rs`.
    ///
    /// # Panics
    ///
    /// Under the conditions of [`written`](Self::written).
    pub fn bounds(&self, open: (&Counters, &Counters), close: (&Counters, &Counters)) -> Bounds {
        match self.nested(open, close, &mut || true, |replay| replay.pages()) {
            Ok([lower, _, upper]) => Bounds { lower, upper },
            // It is never cancelled here.
            Err(Stopped) => Bounds { lower: PageSet::default(), upper: PageSet::default() },
        }
    }

    /// The sets of [`bounds`](Self::bounds), and between them the set that was [`written`](Self::written) from `open.1`
    /// to `close.0`. All three together take only as long as the largest of them: about a millisecond for 250,000 drawn
    /// writes, and next to nothing for other guests. `go_on` is called about every millisecond.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when `go_on` returns false.
    ///
    /// # Panics
    ///
    /// Under the conditions of [`written`](Self::written).
    pub fn sets(
        &self,
        open: (&Counters, &Counters),
        close: (&Counters, &Counters),
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(Bounds, PageSet), Stopped> {
        let [lower, written, upper] = self.nested(open, close, go_on, |replay| replay.pages())?;
        Ok((Bounds { lower, upper }, written))
    }

    /// How many pages the sets of [`sets`](Self::sets) have, without making lists of them.
    ///
    /// # Errors
    ///
    /// Those of [`sets`](Self::sets).
    ///
    /// # Panics
    ///
    /// Under the conditions of [`written`](Self::written).
    pub fn counts(
        &self,
        open: (&Counters, &Counters),
        close: (&Counters, &Counters),
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Counts, Stopped> {
        let [lower, written, upper] = self.nested(open, close, go_on, |replay| (replay.count(), replay.control()))?;
        Ok(Counts { lower: lower.0, written: written.0, upper: upper.0, control: upper.1 })
    }

    /// Calls `of` with the pages that were surely written, then with the pages that were written by the counters, and
    /// then with the pages that were possibly written, and returns the results. Each of these sets contains the one
    /// before it.
    fn nested<T>(
        &self,
        open: Edge<'_>,
        close: Edge<'_>,
        go_on: &mut dyn FnMut() -> bool,
        of: impl Fn(&Replay<'_>) -> T,
    ) -> Result<[T; 3], Stopped> {
        let mut replay = Replay::new(self);
        let sure = |vcpu: usize| {
            let counted = open.1.writes[vcpu]..close.0.writes[vcpu];
            let sure = counted.start.saturating_add(under_way(open.1, vcpu))..counted.end;
            let mailbox = counted.start.saturating_add(under_way(close.0, vcpu)) < counted.end;
            (sure, mailbox)
        };
        // For a larger set only the additional writes are added, which are some writes at each end.
        let counted = |vcpu: usize| {
            let (all, mailbox) = counted(open.1, close.0)(vcpu);
            (all.start..sure(vcpu).0.start.min(all.end), mailbox)
        };
        let before = |vcpu: usize| {
            let end = close.1.writes[vcpu].saturating_add(under_way(close.1, vcpu));
            let possible = open.0.writes[vcpu]..end;
            (possible.start..open.1.writes[vcpu].min(end), !possible.is_empty())
        };
        let behind = |vcpu: usize| {
            let end = close.1.writes[vcpu].saturating_add(under_way(close.1, vcpu));
            (close.0.writes[vcpu].max(open.0.writes[vcpu])..end, false)
        };
        let mut add = |of: &dyn Fn(usize) -> (Range<u64>, bool), control: bool, replay: &mut Replay<'_>| {
            if replay.add(of, control, go_on) { Ok(()) } else { Err(Stopped) }
        };
        add(&sure, close.0.grants > open.1.grants, &mut replay)?;
        let lower = of(&replay);
        add(&counted, false, &mut replay)?;
        let written = of(&replay);
        add(&before, close.1.grants > open.0.grants, &mut replay)?;
        add(&behind, false, &mut replay)?;
        Ok([lower, written, of(&replay)])
    }
}

/// For each vCPU, the writes that are counted at `to` and not at `from`, and whether there are any.
fn counted<'a>(from: &'a Counters, to: &'a Counters) -> impl Fn(usize) -> (Range<u64>, bool) + 'a {
    |vcpu| {
        let writes = from.writes[vcpu]..to.writes[vcpu];
        (writes.clone(), !writes.is_empty())
    }
}

/// How many writes this vCPU may have made without counting them: 1, or 0 if it was settled.
fn under_way(at: &Counters, vcpu: usize) -> u64 {
    u64::from(!at.is_settled(vcpu as u32))
}

#[cfg(test)]
mod tests;
