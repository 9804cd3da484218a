//! Page sampling of a machine's own memory, at deadlines.

use std::time::Duration;

use super::{Machine, Truth};
use crate::vm::{BlockChange, BlockWatch};
use dirtyrate::Moment;
use dirtyrate::dirty_memory::{Bounds, Witness, WitnessedWindow, paused_within};
use dirtyrate::sampling::{
    Compressibility, Design, GuestMemoryReader, Intervals, PageReader, Plan, PlanOptions, Sampled, Sampling,
    compressibility, random_seed,
};
use dirtyrate::{BlockId, CancelToken, Error, Result};

/// How to sample.
#[derive(Debug, Clone, Copy)]
pub struct SampleOptions {
    /// Samples for each GiB: 128 to 16384.
    pub samples_per_gib: u32,
    /// How the pages are chosen.
    pub design: Design,
    /// The same seed and blocks make the same choice of pages; `None` for a random seed.
    pub seed: Option<u64>,
    /// How the interval is computed.
    pub intervals: Intervals,
    /// The size of the cells for which samples are counted, in bytes: a multiple of the page size.
    pub cell_bytes: Option<u64>,
}

impl SampleOptions {
    /// How to make a plan of the samples.
    pub fn plan(&self) -> PlanOptions {
        PlanOptions::default()
            .with_samples_per_gib(self.samples_per_gib)
            .with_design(self.design)
            .with_seed(self.seed.unwrap_or_else(random_seed))
            .with_cell_bytes(self.cell_bytes)
    }
}

/// The comparison at one deadline.
#[derive(Debug, Clone)]
pub struct SampleReport {
    /// The deadline, counted from the beginning of the first look.
    pub requested: Duration,
    /// How much later than the deadline the comparison began.
    pub late: Duration,
    /// How long both passes took.
    pub hashing: Duration,
    /// What the comparison found.
    pub sampled: Sampled,
    /// With a workload: what the guest wrote between the passes.
    pub truth: Option<Truth>,
}

impl Machine {
    /// Looks at a few pages, and again at each of `deadlines`, which are counted from the beginning of the first look,
    /// so that each sample's own window is about as long. This needs no dirty log. Unlike a log it sees writes by the
    /// host, and does not see writes of the same value. The guest must run all the time.
    ///
    /// A block that is added meanwhile is sampled too: it is all zeros then, and its window opens at that moment. A
    /// block that is removed contributes what was written before, and its window ends at its removal. Exact modes do
    /// the same.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a number of samples that is out of range; [`Error::Cancelled`]; those of
    /// [`sync_at`](Self::sync_at).
    pub fn sample_at(
        &self,
        options: &SampleOptions,
        deadlines: &[Duration],
        cancel: &CancelToken,
    ) -> Result<Vec<SampleReport>> {
        let vcpus = self.vm.vcpus()?;
        vcpus.check_running("measured")?;
        let asked = vcpus.clock().now();
        let not_paused = |now: Moment| if now.paused_since(asked) { Err(paused_within()) } else { Ok(()) };
        let page_size = self.vm.capabilities().page_size;
        let (memory, blocks, watch) = self.vm.watch_blocks();
        let reader = GuestMemoryReader::new(memory, &blocks, page_size)?;
        let plan = Plan::new(PageReader::blocks(&reader), page_size, options.plan())?;
        let (opened, sampling) = self.witnessed(|| Sampling::begin_untraced(reader, plan, cancel));
        let mut sampling = sampling?;
        sampling.trace_first_looks();
        let mut ids: Vec<_> = blocks.iter().map(|block| block.id).collect();
        let mut reports = Vec::with_capacity(deadlines.len());
        for &requested in deadlines {
            let late = sampling.wait(requested, cancel, || {
                vcpus.check_running("measured").and_then(|()| not_paused(vcpus.clock().now()))
            })?;
            let (closed, sampled) = self.witnessed(|| {
                follow(&watch, &mut sampling, &mut ids)?;
                sampling.compare_untraced(cancel)
            });
            let compared = vcpus.clock().now();
            let (sampled, looks) = sampled?;
            match vcpus.check_running("measured") {
                // A pause that came after the comparison is not in the window.
                Ok(()) | Err(Error::Paused(_)) => not_paused(compared)?,
                Err(error) => return Err(error),
            }
            sampling.trace_looks(looks);
            let window = opened.clone().zip(closed).map(|(opened, closed)| WitnessedWindow {
                cleared: opened.after.clone(),
                reaped: closed.before.clone(),
                opened,
                closed,
            });
            let truth = match (self.guest(), &window) {
                (Ok(guest), Some(window)) => Some(guest.truth_of_window(window, cancel)?),
                _ => None,
            };
            let hashing = sampling.first_pass() + sampled.took;
            reports.push(SampleReport { requested, late, hashing, sampled, truth });
        }
        Ok(reports)
    }

    /// Looks at a few pages, and compresses those that hold anything but zeros. The guest may run meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the host has no libzstd; [`Error::Argument`] for a number of samples that is out of
    /// range; [`Error::Cancelled`].
    pub fn compressibility(&self, options: &SampleOptions, cancel: &CancelToken) -> Result<Compressibility> {
        let (memory, blocks, _) = self.vm.watch_blocks();
        let mut reader = GuestMemoryReader::new(memory, &blocks, self.vm.capabilities().page_size)?;
        compressibility(&mut reader, options.plan(), &options.intervals, cancel)
    }

    /// Runs `work`, and reads the guest's counters before and after it if there is a workload.
    fn witnessed<T>(&self, work: impl FnOnce() -> T) -> (Option<Bounds>, T) {
        let read = || self.guest().ok().map(|guest| Witness::counters(&*guest));
        let before = read();
        let done = work();
        let bounds = before.zip(read()).map(|(before, after)| Bounds { before, after });
        (bounds, done)
    }
}

/// Adds and removes blocks of `sampling`, as the VM's blocks have changed. `ids` has the blocks' ids in the order of
/// the reader.
fn follow(watch: &BlockWatch, sampling: &mut Sampling<GuestMemoryReader>, ids: &mut Vec<BlockId>) -> Result<()> {
    for change in watch.take() {
        match change {
            BlockChange::Added { block, memory, at } => {
                sampling.reader_mut().add(memory, &block)?;
                sampling.add_zeroed(at)?;
                ids.push(block.id);
            }
            BlockChange::Removed { id, at } => {
                if let Some(block) = ids.iter().position(|&known| known == id) {
                    sampling.remove(block, at);
                }
            }
        }
    }
    Ok(())
}
