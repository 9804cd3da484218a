//! Page sampling of another process, to a list of deadlines.

use std::sync::Arc;
use std::time::Duration;

use super::super::deadline::SampleReport;
use super::super::passes::Sampling;
use super::super::plan::{Plan, PlanOptions};
use super::super::reader::PageReader;
use super::process_fd::Process;
use super::ranges::ProcessRange;
use super::reader::ProcessReader;
use crate::error::Result;
use crate::wait::CancelToken;

/// What [`Process::check_running`] says of a process that was stopped after the first look.
pub(crate) const STOPPED_WITHIN: &str = "was stopped within the window";

/// Looks at pages of `ranges`, and again at each of `deadlines`, which are counted from the beginning of the first
/// look, as [`sample_at`](super::super::sample_at) does. The process is watched all the time: 20 times
/// in a window, but not more often than every 20 ms and not more seldom than every 50 ms, and at both ends of each
/// window, it must not be stopped. After each comparison its memory must still be that of the beginning.
///
/// # Errors
///
/// [`Error::ProcessGone`](crate::Error::ProcessGone) if the process ends, executes another program, unmaps or replaces
/// some of the memory, or shortens its file; [`Error::Paused`](crate::Error::Paused) if a signal or a debugger stops
/// it; [`Error::Argument`](crate::Error::Argument) for a range that is no memory of the process;
/// [`Error::Cancelled`](crate::Error::Cancelled); those of [`Plan::new`].
pub fn sample_process_at(
    process: &Arc<Process>,
    ranges: &[ProcessRange],
    options: PlanOptions,
    deadlines: &[Duration],
    cancel: &CancelToken,
) -> Result<Vec<SampleReport>> {
    process.check_running("is stopped")?;
    let reader = ProcessReader::new(Arc::clone(process), ranges)?;
    let plan = Plan::new(reader.blocks(), reader.page_size(), options)?;
    let mut sampling = Sampling::begin(reader, plan, cancel)?;
    let mut reports = Vec::with_capacity(deadlines.len());
    for &requested in deadlines {
        let late = sampling.wait(requested, cancel, || process.check_running(STOPPED_WITHIN))?;
        sampling.reader_mut().begin_pass();
        let sampled = sampling.compare(cancel)?;
        process.check_running(STOPPED_WITHIN)?;
        sampling.reader().check_memory()?;
        reports.push(SampleReport { requested, late, hashing: sampling.first_pass() + sampled.took, sampled });
    }
    Ok(reports)
}
