//! Comparisons at deadlines. Policy chooses the deadlines; this keeps them, on a thread that does nothing else.

use std::time::{Duration, Instant};

use super::passes::Sampling;
use super::plan::Plan;
use super::reader::PageReader;
use super::sampled::Sampled;
use crate::error::{Error, Result};
use crate::wait::{CancelToken, wait_until};

/// The comparison at one deadline.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SampleReport {
    /// The deadline, from the beginning of the first pass.
    pub requested: Duration,
    /// How much later the comparison began.
    pub late: Duration,
    /// What the first pass and this comparison took.
    pub hashing: Duration,
    /// What the comparison found.
    pub sampled: Sampled,
}

/// Looks at the pages of `plan`, and again at each of `deadlines`, which count from the beginning of the first pass. The calling
/// thread sleeps in between. `alive` is asked at the beginning and the end of each wait, now and then during it, and after each
/// comparison; its error ends the measurement.
///
/// Needs neither KVM nor a dirty log: `reader` may be of the memory of another process.
///
/// # Errors
///
/// Those of [`Sampling::begin`], [`Sampling::wait`] and [`Sampling::compare`].
pub fn sample_at<R: PageReader>(
    reader: R,
    plan: Plan,
    deadlines: &[Duration],
    cancel: &CancelToken,
    alive: impl Fn() -> Result<()>,
) -> Result<Vec<SampleReport>> {
    let mut sampling = Sampling::begin(reader, plan, cancel)?;
    let mut reports = Vec::with_capacity(deadlines.len());
    for &requested in deadlines {
        let late = sampling.wait(requested, cancel, &alive)?;
        let sampled = sampling.compare(cancel)?;
        alive()?;
        reports.push(SampleReport { requested, late, hashing: sampling.first_pass() + sampled.took, sampled });
    }
    Ok(reports)
}

impl<R: PageReader> Sampling<R> {
    /// Sleeps until `requested` after the beginning of the first pass, while `alive` says that there is something to wait for; how much
    /// later it woke. A comparison right after this has samples with windows of about `requested`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a deadline that no clock can name; [`Error::Cancelled`]; the error of `alive`.
    pub fn wait(&self, requested: Duration, cancel: &CancelToken, alive: impl Fn() -> Result<()>) -> Result<Duration> {
        let deadline = self
            .began()
            .checked_add(requested)
            .ok_or_else(|| Error::Argument(format!("a deadline in {requested:?} is beyond any clock")))?;
        wait_until(deadline, cancel, alive)?;
        Ok(Instant::now().saturating_duration_since(deadline))
    }
}
