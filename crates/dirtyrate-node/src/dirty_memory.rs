//! `NativeVirtualMachine`: its dirty memory, and the five steps.

use std::time::{Duration, Instant};

use dirtyrate::dirty_memory::{
    BlockReap, Client, DeadlineReport, GranularityReap, Reap, ReapOptions, RingReap, SyncReport, VcpuReap,
};
use dirtyrate_machine::Machine;
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::cancel_token::{CancelToken, token};
use crate::convert::{deadlines, milliseconds, nanoseconds, whole};
use crate::errors::{Result, thrown};
use crate::guest::{NativeTruth, native_truth};
use crate::promise;
use crate::virtual_machine::NativeVirtualMachine;

/// What a sync cost, and how many pages it found. Times are in ns.
#[napi(object)]
pub struct NativeSyncReport {
    pub ns: f64,
    pub ioctl_ns: f64,
    pub fetch_ns: f64,
    pub clear_ns: f64,
    pub longest_lock_ns: f64,
    /// Pages that the log named.
    pub pages: f64,
}

/// What a reap counts beside its figures.
#[napi(object)]
pub struct NativeReapOptions {
    /// Whether to count the pages of each region of 1 GiB.
    pub by_region: Option<bool>,
    /// The sizes of granules, in bytes: multiples of the page size.
    pub granularities: Option<Vec<f64>>,
    /// The size of the cells whose pages are counted, in bytes: a multiple of the page size.
    pub cell_bytes: Option<f64>,
}

/// A client's dirty memory in granules of one size.
#[napi(object)]
pub struct NativeGranularityReap {
    pub granule_bytes: f64,
    /// Granules with a dirty page.
    pub dirty: f64,
    /// Maximal runs of dirty granules within a block.
    pub extents: f64,
}

/// One block's share of a reap.
#[napi(object)]
pub struct NativeBlockReap {
    pub name: String,
    pub generation: f64,
    pub guest_address: f64,
    pub bytes: f64,
    pub pages: f64,
    pub window_ns: f64,
    pub bytes_per_second: f64,
    /// Whether the block was removed. Its last bits are counted here.
    pub removed: bool,
    /// If it was asked for: the pages of each region of 1 GiB, from the start of the block on.
    #[napi(ts_type = "number[] | null")]
    pub regions: Option<Vec<f64>>,
    /// If it was asked for: the pages of each cell, from the start of the block on.
    #[napi(ts_type = "number[] | null")]
    pub cells: Option<Vec<u32>>,
}

/// What the rings say about a window. `entries` is the sum of the pages and duplicates of all vCPUs. Dropped and lost
/// entries are counted beside these.
#[napi(object)]
pub struct NativeRingReap {
    pub entries: f64,
    pub duplicates: f64,
    /// Pages that more than one vCPU wrote.
    pub shared_pages: f64,
    /// Entries of memory that is not logged, or that was removed.
    pub dropped: f64,
    /// Entries that are known to be lost.
    pub lost: f64,
}

/// One vCPU's share of a window.
#[napi(object)]
pub struct NativeVcpuReap {
    pub id: f64,
    pub pages: f64,
    pub entries: f64,
    pub duplicates: f64,
    pub bytes_per_second: f64,
}

/// The figures of a client's bits.
#[napi(object)]
pub struct NativeReap {
    pub pages: f64,
    pub dirty_bytes: f64,
    pub bytes_per_second: f64,
    /// From the first CLEAR to the last GET whose bits went to the client.
    pub window_ns: f64,
    /// For how much of the window the guest was paused or had ended. Rates leave this time out.
    pub paused_ns: f64,
    pub skew_ns: f64,
    /// How long the reap itself took.
    pub reap_ns: f64,
    pub blocks: Vec<NativeBlockReap>,
    /// False if entries were lost within the window, so that the pages are a lower bound.
    pub complete: bool,
    /// With dirty rings.
    #[napi(ts_type = "NativeRingReap | null")]
    pub ring: Option<NativeRingReap>,
    /// With dirty rings.
    #[napi(ts_type = "NativeVcpuReap[] | null")]
    pub vcpus: Option<Vec<NativeVcpuReap>>,
    /// With a workload: what the guest wrote in this window, by its own counters.
    #[napi(ts_type = "NativeTruth | null")]
    pub truth: Option<NativeTruth>,
    /// In the granules that were asked for.
    #[napi(ts_type = "NativeGranularityReap[] | null")]
    pub granularities: Option<Vec<NativeGranularityReap>>,
}

/// The sync at one deadline.
#[napi(object)]
pub struct NativeDeadlineReport {
    pub requested_ms: f64,
    /// How much later than the deadline the sync began.
    pub late_ns: f64,
    pub sync: NativeSyncReport,
    pub reap: NativeReap,
}

/// The sync at a deadline that took the client's bits.
#[napi(object)]
pub struct NativeTakeReport {
    pub report: NativeDeadlineReport,
    /// From the opening of the window that was taken to the opening of the client's next one.
    pub reopened_ns: f64,
}

#[napi]
impl NativeVirtualMachine {
    /// Step 1: sets the client's flag. Resolves to the time that this took, in ns.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn start_tracking(&self, env: Env, client: String) -> Result<Object<'static>> {
        let client = parse(&client)?;
        self.run(env, move |machine| {
            let began = Instant::now();
            machine.start_tracking(client)?;
            Ok(nanoseconds(began.elapsed()))
        })
    }

    /// Does a last sync, and clears the client's flag.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn stop_tracking(&self, env: Env, client: String) -> Result<Object<'static>> {
        let client = parse(&client)?;
        self.run(env, move |machine| machine.vm().lock_dirty_memory().stop_tracking(client))
    }

    /// Whether the client's flag is set.
    #[napi]
    pub fn is_tracking(&self, client: String) -> Result<bool> {
        Ok(self.machine()?.vm().lock_dirty_bits().is_tracking(parse(&client)?))
    }

    /// Sets or clears the log mask of the VGA client in one block.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn set_log_mask(&self, env: Env, block: String, on: bool) -> Result<Object<'static>> {
        self.run(env, move |machine| machine.vm().lock_dirty_memory().set_log_mask(&block, on))
    }

    /// The blocks whose log is on.
    #[napi]
    pub fn logging_blocks(&self) -> Result<Vec<String>> {
        let machine = self.machine()?;
        Ok(machine.vm().lock_dirty_bits().logging_blocks().map(|block| block.name.clone()).collect())
    }

    /// Step 2: ends the first round of each block whose log has just been turned on, and syncs the other blocks.
    #[napi(ts_return_type = "Promise<NativeSyncReport>")]
    pub fn discard_initial_log(&self, env: Env, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let cancel = token(cancel);
        self.run(env, move |machine| machine.discard_initial_log(&cancel).map(native_sync))
    }

    /// Step 3: empties the client's bits.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn clear(&self, env: Env, client: String) -> Result<Object<'static>> {
        let client = parse(&client)?;
        self.run(env, move |machine| machine.clear(client))
    }

    /// Step 4, now.
    #[napi(ts_return_type = "Promise<NativeSyncReport>")]
    pub fn sync(&self, env: Env, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let cancel = token(cancel);
        self.run(env, move |machine| machine.vm().lock_dirty_memory().sync(&cancel).map(native_sync))
    }

    /// Step 4 at deadlines, which are in ms from the opening of the client's window, ascending. A native thread keeps
    /// them. Right after each sync the client's bits are counted, but not taken.
    #[napi(ts_return_type = "Promise<NativeDeadlineReport[]>")]
    pub fn sync_at(
        &self,
        env: Env,
        client: String,
        deadlines_ms: Vec<f64>,
        cancel: Option<&CancelToken>,
        options: Option<NativeReapOptions>,
    ) -> Result<Object<'static>> {
        let client = parse(&client)?;
        let deadlines = deadlines(&deadlines_ms)?;
        let cancel = token(cancel);
        let options = reap_options(options)?;
        self.run(env, move |machine| {
            let reports = machine.sync_at_with(client, &deadlines, &options, &cancel)?;
            let native = |report| native_deadline(machine, report, &options);
            Ok(reports.into_iter().map(native).collect::<Vec<_>>())
        })
    }

    /// The steps 4 and 5 at one deadline, which is in ms from the opening of the client's window. The bits are taken
    /// right after the sync, before another client can sync.
    #[napi(ts_return_type = "Promise<NativeTakeReport>")]
    pub fn take_at(
        &self,
        env: Env,
        client: String,
        deadline_ms: f64,
        cancel: Option<&CancelToken>,
        options: Option<NativeReapOptions>,
    ) -> Result<Object<'static>> {
        let client = parse(&client)?;
        let deadline = milliseconds("deadline", deadline_ms)?;
        let cancel = token(cancel);
        let options = reap_options(options)?;
        self.run(env, move |machine| {
            let (report, reopened) = machine.take_at_with(client, deadline, &options, &cancel)?;
            let report = native_deadline(machine, report, &options);
            Ok(NativeTakeReport { report, reopened_ns: nanoseconds(reopened) })
        })
    }

    /// Step 5: counts the client's bits.
    #[napi(ts_return_type = "Promise<NativeReap>")]
    pub fn reap(&self, env: Env, client: String) -> Result<Object<'static>> {
        let client = parse(&client)?;
        self.run(env, move |machine| reap(machine, client, false))
    }

    /// Step 5: counts the client's bits and takes them. Its next window opens where the current round began.
    #[napi(ts_return_type = "Promise<NativeReap>")]
    pub fn take(&self, env: Env, client: String) -> Result<Object<'static>> {
        let client = parse(&client)?;
        self.run(env, move |machine| reap(machine, client, true))
    }

    /// Opens one more client, for a measurement beside others.
    #[napi]
    pub fn open_accumulator(&self) -> Result<String> {
        Ok(self.machine()?.vm().lock_dirty_bits().open_accumulator().to_string())
    }

    /// Ends a client at once, without a last sync: its flag is cleared, and its bits are dropped. After `close` this
    /// does nothing.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn abandon(&self, env: Env, client: String) -> Result<Object<'static>> {
        let client = parse(&client)?;
        let machine = self.machine().ok();
        promise::run_surely(env, move || machine.map_or(Ok(()), |machine| machine.abandon(client)))
    }
}

fn reap(machine: &Machine, client: Client, take: bool) -> dirtyrate::Result<NativeReap> {
    let began = Instant::now();
    let reap = if take { machine.take(client) } else { machine.reap(client) }?;
    let took = began.elapsed();
    Ok(native_reap(machine, reap, took, &ReapOptions::default()))
}

pub fn reap_options(options: Option<NativeReapOptions>) -> Result<ReapOptions> {
    let Some(NativeReapOptions { by_region, granularities, cell_bytes }) = options else {
        return Ok(ReapOptions::default());
    };
    let granularities = granularities.unwrap_or_default().into_iter().map(|bytes| whole("granularities", bytes));
    Ok(ReapOptions::default()
        .with_by_region(by_region.unwrap_or(false))
        .with_granularities(granularities.collect::<Result<_>>()?)
        .with_cell_bytes(cell_bytes.map(|bytes| whole("cellBytes", bytes)).transpose()?))
}

pub fn parse(client: &str) -> Result<Client> {
    client.parse().map_err(thrown)
}

fn native_sync(report: SyncReport) -> NativeSyncReport {
    NativeSyncReport {
        ns: nanoseconds(report.elapsed),
        ioctl_ns: nanoseconds(report.calls()),
        fetch_ns: nanoseconds(report.fetch),
        clear_ns: nanoseconds(report.reprotect),
        longest_lock_ns: nanoseconds(report.longest_call),
        pages: report.pages as f64,
    }
}

fn native_deadline(machine: &Machine, report: DeadlineReport, options: &ReapOptions) -> NativeDeadlineReport {
    NativeDeadlineReport {
        requested_ms: report.requested.as_secs_f64() * 1000.0,
        late_ns: nanoseconds(report.late),
        sync: native_sync(report.sync),
        reap: native_reap(machine, report.reap, report.reap_took, options),
    }
}

fn native_reap(machine: &Machine, reap: Reap, took: Duration, options: &ReapOptions) -> NativeReap {
    // This is never cancelled.
    let truth = machine.count_truth(reap.witness.as_ref(), &token(None)).ok().flatten();
    let page_size = reap.page_size;
    let block = |block: &BlockReap| NativeBlockReap {
        name: block.block.name.clone(),
        generation: block.block.id.0 as f64,
        guest_address: block.block.guest_address as f64,
        bytes: block.block.bytes(page_size) as f64,
        pages: block.pages as f64,
        window_ns: nanoseconds(block.window),
        bytes_per_second: block.bytes_per_second,
        removed: block.removed,
        regions: options.by_region.then(|| block.regions.iter().map(|region| region.pages as f64).collect()),
        cells: options.cell_bytes.map(|_| block.cells.clone()),
    };
    let vcpu = |(id, vcpu): (usize, &VcpuReap)| NativeVcpuReap {
        id: id as f64,
        pages: vcpu.pages as f64,
        entries: vcpu.entries as f64,
        duplicates: vcpu.duplicates as f64,
        bytes_per_second: vcpu.bytes_per_second,
    };
    let ring = |ring: &RingReap| NativeRingReap {
        entries: ring.entries() as f64,
        duplicates: ring.duplicates() as f64,
        shared_pages: ring.shared_pages as f64,
        dropped: ring.dropped as f64,
        lost: ring.lost as f64,
    };
    NativeReap {
        complete: reap.is_complete(),
        ring: reap.ring.as_ref().map(ring),
        vcpus: reap.ring.as_ref().map(|ring| ring.vcpus.iter().enumerate().map(vcpu).collect()),
        pages: reap.pages as f64,
        dirty_bytes: reap.dirty_bytes() as f64,
        bytes_per_second: reap.bytes_per_second,
        window_ns: nanoseconds(reap.window),
        paused_ns: nanoseconds(reap.stood),
        skew_ns: nanoseconds(reap.skew),
        reap_ns: nanoseconds(took),
        blocks: reap.blocks.iter().map(block).collect(),
        truth: truth.map(native_truth),
        granularities: (!reap.granularities.is_empty())
            .then(|| reap.granularities.iter().map(native_granularity).collect()),
    }
}

pub fn native_granularity(of_size: &GranularityReap) -> NativeGranularityReap {
    NativeGranularityReap {
        granule_bytes: of_size.granule_bytes as f64,
        dirty: of_size.count.dirty as f64,
        extents: of_size.count.extents as f64,
    }
}
