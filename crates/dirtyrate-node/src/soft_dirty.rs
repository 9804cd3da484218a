//! `NativeProcess.softDirtyAt`: the exact pages that another process wrote.

use dirtyrate::dirty_memory::ReapOptions;
use dirtyrate::soft_dirty::{SoftDirtyBlock, SoftDirtyReport, may_have_soft_dirty, measure_soft_dirty_at_with};
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::cancel_token::{CancelToken, token};
use crate::convert::{deadlines, nanoseconds};
use crate::dirty_memory::{NativeGranularityReap, NativeReapOptions, native_granularity, reap_options};
use crate::errors::Result;
use crate::log::patiently;
use crate::process::{NativeProcess, NativeProcessRange, process_range};
use crate::promise;

/// One range's share.
#[napi(object)]
pub struct NativeSoftDirtyBlock {
    pub name: String,
    pub guest_address: f64,
    pub bytes: f64,
    /// Distinct pages that the process wrote; with huge pages, not more than that.
    pub pages: f64,
    /// Whether some of the memory is in huge pages.
    pub huge: bool,
    pub window_ns: f64,
    /// The pages of each region of 1 GiB, from the beginning of the range, if the caller asked for them.
    #[napi(ts_type = "number[] | null")]
    pub regions: Option<Vec<f64>>,
    /// The pages of each cell, from the beginning of the range, if the caller asked for them.
    #[napi(ts_type = "number[] | null")]
    pub cells: Option<Vec<u32>>,
}

/// The look at one deadline.
#[napi(object)]
pub struct NativeSoftDirtyReport {
    pub requested_ms: f64,
    pub late_ns: f64,
    /// From the end of the clear to the end of the look.
    pub window_ns: f64,
    /// How long this look took.
    pub skew_ns: f64,
    /// How long this look, and those before it, took.
    pub look_ns: f64,
    /// How long the clear took, in which page faults of the process waited.
    pub clear_ns: f64,
    pub pages: f64,
    pub bytes_per_second: f64,
    /// The rate of the pages that were written at least: less than the rate if there are huge pages.
    pub least_bytes_per_second: f64,
    pub blocks: Vec<NativeSoftDirtyBlock>,
    /// The pages in the granules that the caller asked for.
    pub granularities: Vec<NativeGranularityReap>,
    /// Bits have vanished within the window.
    pub vanished: bool,
    /// Another process has some of the same pages.
    pub shared: bool,
    /// The kernel may merge pages.
    pub mergeable: bool,
    /// The bits had been cleared before.
    pub in_use: bool,
}

#[napi]
impl NativeProcess {
    /// Clears the soft-dirty bits of the process, and looks at those of `ranges` at each deadline. Deadlines are in ms
    /// from the end of the clear, ascending. Granules lie at multiples of their size from guest address 0 on. Rejects
    /// with ERR_UNSUPPORTED on a kernel without these bits; ERR_MEASURING while another measurement has them; ERR_STATE
    /// for memory without them; ERR_TARGET_PERMISSION, ERR_TARGET_GONE, ERR_ARGUMENT, ERR_CANCELLED, ERR_MEMORY.
    #[napi(ts_return_type = "Promise<NativeSoftDirtyReport[]>")]
    pub fn soft_dirty_at(
        &self,
        env: Env,
        ranges: Vec<NativeProcessRange>,
        deadlines_ms: Vec<f64>,
        options: Option<NativeReapOptions>,
        cancel: Option<&CancelToken>,
    ) -> Result<Object<'static>> {
        let (deadlines, options) = (deadlines(&deadlines_ms)?, reap_options(options)?);
        let ranges = ranges.into_iter().map(process_range).collect::<Result<Vec<_>>>()?;
        let (process, cancel) = (self.process()?, token(cancel));
        promise::run(env, move || {
            let reports = patiently(|| measure_soft_dirty_at_with(&process, &ranges, &deadlines, &options, &cancel))?;
            let native_report = |report| native_report(report, &options);
            Ok(reports.iter().map(native_report).collect::<Vec<_>>())
        })
    }
}

/// Whether this kernel may have soft-dirty bits; false also if that cannot be found out. This clears none.
#[napi]
pub fn kernel_may_have_soft_dirty() -> bool {
    may_have_soft_dirty().unwrap_or(false)
}

fn native_report(report: &SoftDirtyReport, options: &ReapOptions) -> NativeSoftDirtyReport {
    let block = |block: &SoftDirtyBlock| NativeSoftDirtyBlock {
        name: block.name.clone(),
        guest_address: block.guest_address as f64,
        bytes: block.bytes as f64,
        pages: block.pages as f64,
        huge: block.huge,
        window_ns: nanoseconds(block.window),
        regions: options.by_region.then(|| block.regions.iter().map(|region| region.pages as f64).collect()),
        cells: options.cell_bytes.map(|_| block.cells.clone()),
    };
    NativeSoftDirtyReport {
        requested_ms: report.requested.as_secs_f64() * 1000.0,
        late_ns: nanoseconds(report.late),
        window_ns: nanoseconds(report.window),
        skew_ns: nanoseconds(report.skew),
        look_ns: nanoseconds(report.looking),
        clear_ns: nanoseconds(report.clear),
        pages: report.pages() as f64,
        bytes_per_second: report.bytes_per_second(),
        least_bytes_per_second: report.least_bytes_per_second(),
        blocks: report.blocks.iter().map(block).collect(),
        granularities: report.granularities.iter().map(native_granularity).collect(),
        vanished: report.vanished,
        shared: report.shared,
        mergeable: report.mergeable,
        in_use: report.in_use,
    }
}
