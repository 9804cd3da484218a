//! `NativeProcess`: another process, and page sampling of its memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dirtyrate::kvm::statistics::statistics_of;
use dirtyrate::sampling::compressibility;
use dirtyrate::sampling::process::{Process, ProcessRange, ProcessReader, sample_process_at};
use dirtyrate_machine::MachineError;
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::cancel_token::{CancelToken, token};
use crate::convert::{deadlines, whole};
use crate::errors::{Result, thrown};
use crate::log::patiently;
use crate::promise;
use crate::sample::{NativeSampleOptions, native_compressibility, native_report, sample_options};

/// Memory of another process that is a block for sampling.
#[napi(object)]
pub struct NativeProcessRange {
    pub name: String,
    /// 0 if it is not known.
    pub guest_address: f64,
    /// The address in the process, a multiple of the page size.
    pub start: f64,
    pub bytes: f64,
}

/// Another process whose memory is sampled. Its memory is only read.
#[napi]
pub struct NativeProcess(Mutex<Option<Arc<Process>>>);

impl NativeProcess {
    pub(crate) fn process(&self) -> Result<Arc<Process>> {
        let process = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        process.ok_or_else(|| thrown(MachineError::Closed.into()))
    }
}

#[napi]
impl NativeProcess {
    /// Opens the process with this number. Throws ERR_TARGET_ABSENT, ERR_TARGET_PERMISSION, ERR_TARGET_GONE,
    /// ERR_UNSUPPORTED.
    #[napi(constructor)]
    pub fn new(pid: u32) -> Result<Self> {
        let process = Process::open(pid).map_err(thrown)?;
        Ok(Self(Mutex::new(Some(Arc::new(process)))))
    }

    /// Throws ERR_TARGET_GONE if the process has ended, or has executed another program.
    #[napi]
    pub fn check(&self) -> Result<()> {
        self.process()?.check().map_err(thrown)
    }

    /// KVM's statistics of the vCPUs of the process, each the sum over all vCPUs. Resolves with null if the process
    /// keeps no file of them open, or this process may not copy its descriptors.
    #[napi(ts_return_type = "Promise<Record<string, number> | null>")]
    pub fn kvm_statistics(&self, env: Env) -> Result<Object<'static>> {
        let process = self.process()?;
        promise::run(env, move || {
            let as_number = |(name, value): (String, u64)| (name, value as f64);
            Ok(statistics_of(&process).map(|found| found.into_iter().map(as_number).collect::<HashMap<_, _>>()))
        })
    }

    /// Gives the process up, once the calls under way have ended.
    #[napi]
    pub fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Page sampling of `ranges`: looks at the samples, and again at each deadline. Deadlines are in ms from the
    /// beginning of the first look, ascending. Rejects with ERR_TARGET_GONE if the process ends, executes another
    /// program, or unmaps or replaces some of the memory; ERR_ARGUMENT, ERR_CANCELLED, ERR_MEMORY.
    #[napi(ts_return_type = "Promise<NativeSampleReport[]>")]
    pub fn sample_at(
        &self,
        env: Env,
        ranges: Vec<NativeProcessRange>,
        options: NativeSampleOptions,
        deadlines_ms: Vec<f64>,
        cancel: Option<&CancelToken>,
    ) -> Result<Object<'static>> {
        let by_region = options.by_region.unwrap_or(false);
        let options = sample_options(&options)?;
        let deadlines = deadlines(&deadlines_ms)?;
        let ranges = ranges.into_iter().map(process_range).collect::<Result<Vec<_>>>()?;
        let (process, cancel) = (self.process()?, token(cancel));
        promise::run(env, move || {
            let plan = options.plan();
            let reports = patiently(|| sample_process_at(&process, &ranges, plan, &deadlines, &cancel))?;
            let native = |report: &dirtyrate::sampling::SampleReport| {
                native_report(report.requested, report.late, report.hashing, &report.sampled, &options, by_region)
            };
            Ok(reports.iter().map(native).collect::<Vec<_>>())
        })
    }

    /// How well the pages of `ranges` compress. Rejects with ERR_UNSUPPORTED if the host has no libzstd; otherwise as
    /// `sampleAt`.
    #[napi(ts_return_type = "Promise<NativeCompressibility>")]
    pub fn compressibility(
        &self,
        env: Env,
        ranges: Vec<NativeProcessRange>,
        options: NativeSampleOptions,
        cancel: Option<&CancelToken>,
    ) -> Result<Object<'static>> {
        let options = sample_options(&options)?;
        let ranges = ranges.into_iter().map(process_range).collect::<Result<Vec<_>>>()?;
        let (process, cancel) = (self.process()?, token(cancel));
        promise::run(env, move || {
            let mut reader = ProcessReader::new(process, &ranges)?;
            let found = compressibility(&mut reader, options.plan(), &options.intervals, &cancel)?;
            reader.check_memory()?;
            Ok(native_compressibility(&found))
        })
    }
}

pub fn process_range(range: NativeProcessRange) -> Result<ProcessRange> {
    Ok(ProcessRange {
        guest_address: whole("guestAddress", range.guest_address)?,
        start: whole("start", range.start)?,
        bytes: whole("bytes", range.bytes)?,
        name: range.name,
    })
}
