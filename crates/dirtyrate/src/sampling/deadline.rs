//! Comparisons at deadlines. The caller chooses the deadlines; the functions here keep them, on a thread that does
//! nothing else.

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
    /// The deadline, counted from the beginning of the first pass.
    pub requested: Duration,
    /// How much later than the deadline the comparison began.
    pub late: Duration,
    /// How long the first pass and this comparison took together.
    pub hashing: Duration,
    /// What the comparison found.
    pub sampled: Sampled,
}

/// Looks at the pages of `plan`, and again at each of `deadlines`, which are counted from the beginning of the first
/// pass. The calling thread sleeps in between. It calls `alive` at the beginning and the end of each wait, now and then
/// during the wait, and after each comparison; an error of `alive` ends the measurement.
///
/// This needs neither KVM nor a dirty log: `reader` may read the memory of another process.
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
    /// Sleeps until `requested` after the beginning of the first pass, and returns how much later it woke. An error of
    /// `alive` ends the sleep. In a comparison right after this, the samples have windows of about `requested`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a deadline that is too late for the clock; [`Error::Cancelled`]; the error of `alive`.
    pub fn wait(&self, requested: Duration, cancel: &CancelToken, alive: impl Fn() -> Result<()>) -> Result<Duration> {
        let deadline = self
            .began()
            .checked_add(requested)
            .ok_or_else(|| Error::Argument(format!("a deadline in {requested:?} is beyond any clock")))?;
        wait_until(deadline, cancel, alive)?;
        Ok(Instant::now().saturating_duration_since(deadline))
    }
}
