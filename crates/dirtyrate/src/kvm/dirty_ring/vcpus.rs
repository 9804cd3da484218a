//! What the dirty rings need from a VMM's vCPUs, and what its vCPUs must do for the rings.

use std::time::Duration;

use crate::error::{Error, Result};

/// Who looks after the vCPUs' dirty rings. Called on vCPU threads, outside of KVM_RUN and without any lock of theirs held.
pub trait RingExits: Send + Sync {
    /// How long a vCPU may run before [`kicked`](Self::kicked) is called; `None` if it need not be called, as while no block is logged.
    /// It is asked each time before a vCPU enters KVM_RUN.
    fn longest_run(&self) -> Option<Duration>;
    /// A vCPU was taken out of KVM_RUN, and has not entered again.
    fn kicked(&self, vcpu: usize);
    /// A vCPU left because its ring is full.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`] for a vCPU whose ring nobody harvests: KVM_RUN would end at once for ever.
    fn full(&self, vcpu: usize) -> Result<()>;
}

/// Who stops the vCPUs for the dirty rings. Called on the reaper's thread and on that of whoever syncs, never on a vCPU's.
pub trait HoldVcpus: Send + Sync {
    /// Runs `work` once, while no vCPU is inside KVM_RUN: each was taken out by a signal, or stands anyway, and none enters
    /// before this returns. A VM that is paused stays so. Several threads may hold at once.
    ///
    /// # Errors
    ///
    /// The vCPUs could not be stopped, and `work` was not run.
    fn hold_vcpus(&self, work: &mut dyn FnMut()) -> Result<()>;
}

/// Has `work` done while the vCPUs stand.
pub(super) fn hold<T>(vcpus: &dyn HoldVcpus, work: impl FnOnce() -> T) -> Result<T> {
    let (mut work, mut result) = (Some(work), None);
    vcpus.hold_vcpus(&mut || {
        if let Some(work) = work.take() {
            result = Some(work());
        }
    })?;
    result.ok_or_else(|| Error::State("the vCPUs were held, and the work was not done".to_owned()))
}
