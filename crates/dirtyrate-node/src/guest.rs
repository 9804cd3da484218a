//! `NativeVirtualMachine`: the built-in guests, and the truth about them.

use dirtyrate::Error;
use dirtyrate_machine::TruthCounts;
use dirtyrate_machine::workload::{Counters, Pace, Workload};
use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use crate::cancel_token::{CancelToken, token};
use crate::convert::{whole, word};
use crate::errors::{Result, thrown};
use crate::virtual_machine::NativeVirtualMachine;

/// What a built-in guest does.
#[napi(object)]
pub struct NativeWorkloadOptions {
    #[napi(ts_type = "'stride' | 'random' | 'hot-cold' | 'silent' | 'idle'")]
    pub kind: String,
    /// The working set of all vCPUs together.
    pub pages: f64,
    pub vcpus: f64,
    /// Default 'split': each vCPU has its own share of the pages. 'shared': all write all.
    #[napi(ts_type = "'split' | 'shared'")]
    pub sharing: Option<String>,
    /// Default 'packed': from the first free address up. 'spread': over the ends of all RAM blocks.
    /// 'even': over the ends of all GiB of guest addresses.
    #[napi(ts_type = "'packed' | 'spread' | 'even'")]
    pub placement: Option<String>,
    /// Default 'free', or 'granted' if there is a rate. 'clock': the guest keeps the rate by its own clock.
    #[napi(ts_type = "'free' | 'granted' | 'clock'")]
    pub pacing: Option<String>,
    /// 'granted': the budget is granted at this rate while the virtual machine runs. 'clock': the guest's own rate, in
    /// whole bytes.
    pub bytes_per_second: Option<f64>,
    /// Default 1.
    pub seed: Option<f64>,
}

/// What the guest wrote in a window, in distinct pages.
#[napi(object)]
pub struct NativeTruth {
    /// Pages that were surely written in the window.
    pub low: f64,
    /// Pages that were counted between the end of the window's CLEAR and its GET.
    pub pages: f64,
    /// Pages that were possibly written in the window.
    pub high: f64,
}

/// The guest's counters at one instant.
#[napi(object)]
pub struct NativeInstant {
    /// Writes made, by vCPU.
    pub writes: Vec<f64>,
    /// Writes granted, by vCPU; null if the guest takes no grants.
    #[napi(ts_type = "(number | null)[]")]
    pub budgets: Vec<Option<f64>>,
    /// Grants made by the host.
    pub grants: f64,
}

#[napi]
impl NativeVirtualMachine {
    /// Builds a guest for this machine's RAM and loads it. Rejects with ERR_ARGUMENT, ERR_STATE.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn load_workload(&self, env: Env, options: NativeWorkloadOptions) -> Result<Object<'static>> {
        let (workload, rate) = workload(&options)?;
        self.run(env, move |machine| machine.load_workload(&workload, rate))
    }

    /// Lets each vCPU make `writes` more writes. For this the host writes the control page.
    #[napi]
    pub fn grant(&self, writes: f64) -> Result<()> {
        let writes = whole("writes", writes)?;
        self.machine()?.guest().and_then(|guest| guest.grant(writes)).map_err(thrown)
    }

    /// Resolves when every granted write is made.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn settled(&self, env: Env, cancel: Option<&CancelToken>) -> Result<Object<'static>> {
        let cancel = token(cancel);
        self.run(env, move |machine| machine.settled(&cancel))
    }

    /// The guest's counters now.
    #[napi]
    pub fn instant(&self) -> Result<NativeInstant> {
        let counters = self.machine()?.counters().map_err(thrown)?;
        let budget = |&budget: &u64| (budget != Counters::UNLIMITED).then_some(budget as f64);
        Ok(NativeInstant {
            writes: counters.writes.iter().map(|&writes| writes as f64).collect(),
            budgets: counters.budgets.iter().map(budget).collect(),
            grants: counters.grants as f64,
        })
    }

    /// The pages written between two instants. If the guest stood still at both, all three numbers are the same.
    #[napi(ts_return_type = "Promise<NativeTruth>")]
    pub fn truth(&self, env: Env, from: NativeInstant, to: NativeInstant) -> Result<Object<'static>> {
        let (from, to) = (counters(&from)?, counters(&to)?);
        self.run(env, move |machine| {
            let guest = machine.guest()?;
            guest.count_truth(&from, &to, &token(None)).map(native_truth)
        })
    }

    /// Checks that the contents of the pages agree with the counters. Resolves to null, or to the difference. The guest
    /// must stand still.
    #[napi(ts_return_type = "Promise<string | null>")]
    pub fn confirm_contents(&self, env: Env) -> Result<Object<'static>> {
        self.run(env, |machine| {
            Ok(machine.guest()?.confirm_contents(&token(None))?.err().map(|mismatch| mismatch.to_string()))
        })
    }
}

fn counters(instant: &NativeInstant) -> Result<Counters> {
    Ok(Counters {
        writes: instant.writes.iter().map(|&writes| whole("writes", writes)).collect::<Result<_>>()?,
        budgets: instant
            .budgets
            .iter()
            .map(|budget| budget.map_or(Ok(Counters::UNLIMITED), |budget| whole("budgets", budget)))
            .collect::<Result<_>>()?,
        grants: whole("grants", instant.grants)?,
    })
}

/// The truth in numbers.
pub fn native_truth(counts: TruthCounts) -> NativeTruth {
    NativeTruth { low: counts.lower as f64, pages: counts.written as f64, high: counts.upper as f64 }
}

/// The core's workload for these options, and the rate at which the host grants writes.
pub fn workload(options: &NativeWorkloadOptions) -> Result<(Workload, Option<f64>)> {
    let refuse = |text: String| thrown(Error::Argument(text));
    let pace =
        Pace::new(word(options.pacing.as_deref())?, options.bytes_per_second).map_err(|error| thrown(error.into()))?;
    let vcpus = whole("vcpus", options.vcpus)?;
    let workload = Workload {
        kind: options.kind.parse().map_err(thrown)?,
        pages: whole("pages", options.pages)?,
        vcpus: u32::try_from(vcpus).map_err(|_| refuse(format!("{vcpus} vCPUs are too many")))?,
        sharing: word(options.sharing.as_deref())?.unwrap_or_default(),
        placement: word(options.placement.as_deref())?.unwrap_or_default(),
        pacing: pace.pacing,
        seed: whole("seed", options.seed.unwrap_or(1.0))?,
    };
    Ok((workload, pace.granted_bytes_per_second))
}
