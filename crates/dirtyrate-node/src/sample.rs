//! Page sampling: its options and reports, and `NativeVirtualMachine.sampleAt`.

use std::time::Duration;

use dirtyrate::Error;
use dirtyrate::sampling::{BlockSampled, Compressibility, Intervals, Sampled};
use dirtyrate_machine::SampleOptions;
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::cancel_token::{CancelToken, token};
use crate::convert::{deadlines, nanoseconds, whole, word};
use crate::errors::{Result, thrown};
use crate::guest::{NativeTruth, native_truth};
use crate::log::patiently;
use crate::virtual_machine::NativeVirtualMachine;

/// How to sample.
#[napi(object)]
pub struct NativeSampleOptions {
    /// 128 to 16384; default 512.
    pub samples_per_gib: Option<f64>,
    /// In (0, 1); default 0.95.
    pub confidence: Option<f64>,
    /// Default 'wilson'.
    #[napi(ts_type = "'wilson' | 'clopper-pearson'")]
    pub interval: Option<String>,
    /// Default 'stratified'.
    #[napi(ts_type = "'stratified' | 'simple-random'")]
    pub design: Option<String>,
    /// Default: a random number.
    pub seed: Option<f64>,
    /// Whether to estimate the pages of each region of 1 GiB.
    pub by_region: Option<bool>,
    /// The size of the cells whose pages are estimated, in bytes: a multiple of the page size.
    pub cell_bytes: Option<f64>,
}

/// The cells of a block, from its start on: an estimate of distinct dirty pages for each, and the samples that lie in
/// it. A cell without samples has the estimate 0.
#[napi(object)]
pub struct NativeSampledCells {
    pub pages: Vec<f64>,
    pub samples: Vec<u32>,
}

/// The regions of 1 GiB of a block, from its start on: an estimate of distinct dirty pages for each, by its own
/// samples.
#[napi(object)]
pub struct NativeSampledRegions {
    pub pages: Vec<f64>,
    /// The bounds of the intervals.
    pub low: Vec<f64>,
    pub high: Vec<f64>,
}

/// One block's share.
#[napi(object)]
pub struct NativeSampledBlock {
    pub name: String,
    pub guest_address: f64,
    pub bytes: f64,
    pub samples: f64,
    pub hits: f64,
    pub zero_pages: f64,
    pub window_ns: f64,
    /// The estimate of distinct dirty pages, and the ends of its interval.
    pub pages: f64,
    pub pages_low: f64,
    pub pages_high: f64,
    /// Whether the block was removed. It contributes what was written before its removal.
    pub removed: bool,
    /// If it was asked for.
    #[napi(ts_type = "NativeSampledRegions | null")]
    pub regions: Option<NativeSampledRegions>,
    /// If they were asked for.
    #[napi(ts_type = "NativeSampledCells | null")]
    pub cells: Option<NativeSampledCells>,
}

/// The comparison at one deadline. Beside each figure are the bounds of its interval.
#[napi(object)]
pub struct NativeSampleReport {
    pub requested_ms: f64,
    pub late_ns: f64,
    pub samples: f64,
    /// Samples that changed since the first look.
    pub hits: f64,
    /// Samples that were all zeros at the first look.
    pub zero_pages: f64,
    /// Samples that came into memory only after the first look, so that nobody knows whether they changed.
    pub unjudged: f64,
    pub samples_per_gib: f64,
    /// The mean of the samples' own windows.
    pub window_ns: f64,
    pub skew_ns: f64,
    /// How long both passes took.
    pub hash_ns: f64,
    pub pages: f64,
    pub pages_low: f64,
    pub pages_high: f64,
    pub bytes_per_second: f64,
    pub bytes_per_second_low: f64,
    pub bytes_per_second_high: f64,
    /// The estimate of pages that changed since the deadline before.
    pub increment_pages: f64,
    pub increment_low: f64,
    pub increment_high: f64,
    /// The size of the memory, and an estimate of its pages that were all zeros at the beginning.
    pub memory_bytes: f64,
    pub memory_zero_pages: f64,
    pub memory_zero_pages_low: f64,
    pub memory_zero_pages_high: f64,
    pub blocks: Vec<NativeSampledBlock>,
    /// With a workload: what the guest wrote between the passes.
    #[napi(ts_type = "NativeTruth | null")]
    pub truth: Option<NativeTruth>,
}

#[napi]
impl NativeVirtualMachine {
    /// Page sampling of the guest's memory: looks at the samples, and again at each deadline. Deadlines are in ms from
    /// the beginning of the first look, ascending. This needs no dirty log. Rejects as `syncAt`.
    #[napi(ts_return_type = "Promise<NativeSampleReport[]>")]
    pub fn sample_at(
        &self,
        env: Env,
        options: NativeSampleOptions,
        deadlines_ms: Vec<f64>,
        cancel: Option<&CancelToken>,
    ) -> Result<Object<'static>> {
        let by_region = options.by_region.unwrap_or(false);
        let options = sample_options(&options)?;
        let deadlines = deadlines(&deadlines_ms)?;
        let cancel = token(cancel);
        self.run(env, move |machine| {
            // This thread holds no lock of the machine, so its events about pages may wait for JavaScript.
            let reports = patiently(|| machine.sample_at(&options, &deadlines, &cancel))?;
            let native = |report: &dirtyrate_machine::SampleReport| NativeSampleReport {
                truth: report.truth.as_ref().map(|truth| native_truth(truth.counts())),
                ..native_report(report.requested, report.late, report.hashing, &report.sampled, &options, by_region)
            };
            Ok(reports.iter().map(native).collect::<Vec<_>>())
        })
    }
}

/// What sampled pages hold. Beside each figure are the bounds of its interval.
#[napi(object)]
pub struct NativeCompressibility {
    /// The part of the pages that hold nothing but zeros, from 0 to 1.
    pub zero: f64,
    pub zero_low: f64,
    pub zero_high: f64,
    /// Null if too few pages hold anything.
    #[napi(ts_type = "NativeCompressed | null")]
    pub compressed: Option<NativeCompressed>,
}

/// How well pages compress.
#[napi(object)]
pub struct NativeCompressed {
    /// How many pages were compressed.
    pub pages: f64,
    /// The compressed size, as a part of the size.
    pub ratio: f64,
    pub ratio_low: f64,
    pub ratio_high: f64,
    /// Bytes of pages that one thread compresses in a second of CPU time.
    pub bytes_per_second: f64,
}

#[napi]
impl NativeVirtualMachine {
    /// How well the pages of the guest's memory compress. Rejects with ERR_UNSUPPORTED if the host has no libzstd;
    /// ERR_ARGUMENT, ERR_CANCELLED, ERR_MEMORY, ERR_CLOSED.
    #[napi(ts_return_type = "Promise<NativeCompressibility>")]
    pub fn compressibility(
        &self,
        env: Env,
        options: NativeSampleOptions,
        cancel: Option<&CancelToken>,
    ) -> Result<Object<'static>> {
        let options = sample_options(&options)?;
        let cancel = token(cancel);
        self.run(env, move |machine| Ok(native_compressibility(&machine.compressibility(&options, &cancel)?)))
    }
}

pub fn native_compressibility(found: &Compressibility) -> NativeCompressibility {
    NativeCompressibility {
        zero: found.zero,
        zero_low: found.zero_interval.low,
        zero_high: found.zero_interval.high,
        compressed: found.compressed.map(|compressed| NativeCompressed {
            pages: compressed.pages as f64,
            ratio: compressed.ratio,
            ratio_low: compressed.interval.low,
            ratio_high: compressed.interval.high,
            bytes_per_second: compressed.bytes_per_second,
        }),
    }
}

/// The bounds of a share of samples.
#[napi(object)]
pub struct NativeShareInterval {
    /// The lower end, in [0, 1].
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The interval of the share of samples that changed, where somebody else has sampled: QEMU tells only its rate.
#[napi]
pub fn sample_interval(
    hits: f64,
    samples: f64,
    confidence: f64,
    #[napi(ts_arg_type = "'wilson' | 'clopper-pearson'")] method: String,
) -> Result<NativeShareInterval> {
    let method = word(Some(&method))?.unwrap_or_default();
    let interval = Intervals::new(method, confidence).map_err(thrown)?.interval(hits, samples);
    Ok(NativeShareInterval { low: interval.low, high: interval.high })
}

/// The options, checked and with their defaults.
pub fn sample_options(options: &NativeSampleOptions) -> Result<SampleOptions> {
    let refuse = |text: String| thrown(Error::Argument(text));
    let method = word(options.interval.as_deref())?.unwrap_or_default();
    let samples = options.samples_per_gib.unwrap_or(f64::from(dirtyrate::sampling::DEFAULT_SAMPLES_PER_GIB));
    let samples = whole("samplesPerGib", samples)?;
    Ok(SampleOptions {
        samples_per_gib: u32::try_from(samples).map_err(|_| refuse(format!("{samples} samples are too many")))?,
        design: word(options.design.as_deref())?.unwrap_or_default(),
        seed: options.seed.map(|seed| whole("seed", seed)).transpose()?,
        intervals: Intervals::new(method, options.confidence.unwrap_or(0.95)).map_err(thrown)?,
        cell_bytes: options.cell_bytes.map(|bytes| whole("cellBytes", bytes)).transpose()?,
    })
}

/// A report without a truth.
pub fn native_report(
    requested: Duration,
    late: Duration,
    hashing: Duration,
    sampled: &Sampled,
    options: &SampleOptions,
    by_region: bool,
) -> NativeSampleReport {
    let (dirty, new) = (sampled.dirty_pages(&options.intervals), sampled.new_pages(&options.intervals));
    let rate = sampled.rate(&options.intervals);
    let block = |block: &BlockSampled| {
        let dirty = block.dirty_pages(&options.intervals);
        NativeSampledBlock {
            name: block.name.clone(),
            guest_address: block.guest_address as f64,
            bytes: block.bytes() as f64,
            samples: block.samples as f64,
            hits: block.hits as f64,
            zero_pages: block.zero_pages as f64,
            window_ns: nanoseconds(block.window),
            pages: dirty.pages,
            pages_low: dirty.interval.low,
            pages_high: dirty.interval.high,
            removed: block.removed,
            regions: by_region.then(|| native_regions(block, &options.intervals)),
            cells: options.cell_bytes.map(|bytes| NativeSampledCells {
                pages: block.cell_pages(bytes / block.page_size).collect(),
                samples: block.cells.iter().map(|cell| cell.samples).collect(),
            }),
        }
    };
    let zero = sampled.zero_pages_of_memory(&options.intervals);
    NativeSampleReport {
        requested_ms: requested.as_secs_f64() * 1000.0,
        late_ns: nanoseconds(late),
        samples: sampled.samples as f64,
        hits: sampled.hits as f64,
        zero_pages: sampled.zero_pages as f64,
        unjudged: sampled.unjudged as f64,
        samples_per_gib: f64::from(options.samples_per_gib),
        window_ns: nanoseconds(sampled.window),
        skew_ns: nanoseconds(sampled.skew),
        hash_ns: nanoseconds(hashing),
        pages: dirty.pages,
        pages_low: dirty.interval.low,
        pages_high: dirty.interval.high,
        bytes_per_second: rate.bytes_per_second,
        bytes_per_second_low: rate.interval.low,
        bytes_per_second_high: rate.interval.high,
        increment_pages: new.pages,
        increment_low: new.interval.low,
        increment_high: new.interval.high,
        memory_bytes: (sampled.pages * sampled.page_size) as f64,
        memory_zero_pages: zero.pages,
        memory_zero_pages_low: zero.interval.low,
        memory_zero_pages_high: zero.interval.high,
        blocks: sampled.blocks.iter().map(block).collect(),
        truth: None,
    }
}

fn native_regions(block: &BlockSampled, intervals: &Intervals) -> NativeSampledRegions {
    let estimates: Vec<_> = block.regions.iter().map(|region| block.region_pages(region, intervals)).collect();
    NativeSampledRegions {
        pages: estimates.iter().map(|estimate| estimate.pages).collect(),
        low: estimates.iter().map(|estimate| estimate.interval.low).collect(),
        high: estimates.iter().map(|estimate| estimate.interval.high).collect(),
    }
}
