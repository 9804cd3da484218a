//! What a VMM must do for the dirty rings: stop its vCPUs when asked to, and report why KVM_RUN ended.

use std::time::Duration;

use crate::error::{Error, Result};

/// Gets told by each vCPU thread why its KVM_RUN ended. A vCPU thread makes these calls outside of KVM_RUN, and without
/// holding a lock of its own.
pub trait RingExits: Send + Sync {
    /// How long a vCPU may run before [`kicked`](Self::kicked) is called; `None` if it need not be called, as while no
    /// block is logged. It is asked each time before a vCPU enters KVM_RUN.
    fn longest_run(&self) -> Option<Duration>;
    /// A kick has taken a vCPU out of KVM_RUN, and the vCPU has not entered again.
    fn kicked(&self, vcpu: usize);
    /// A vCPU left KVM_RUN because its ring is full.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`] for a vCPU that is not attached: its ring is never harvested, so each KVM_RUN would end
    /// at once.
    fn full(&self, vcpu: usize) -> Result<()>;
}

/// Stops the vCPUs for the dirty rings. The reaper's thread calls this, and any thread that syncs, but never the thread
/// of a vCPU.
pub trait HoldVcpus: Send + Sync {
    /// Runs `work` once, while no vCPU is inside KVM_RUN. Vcpus that run have to be taken out by a signal, and no vCPU
    /// may enter KVM_RUN before this returns. A VM that is paused stays paused. Several threads may call this at the
    /// same time.
    ///
    /// # Errors
    ///
    /// The vCPUs could not be stopped, and `work` was not run.
    fn hold_vcpus(&self, work: &mut dyn FnMut()) -> Result<()>;
}

/// Runs `work` while the vCPUs are stopped, and returns its result.
pub(super) fn hold<T>(vcpus: &dyn HoldVcpus, work: impl FnOnce() -> T) -> Result<T> {
    let (mut work, mut result) = (Some(work), None);
    vcpus.hold_vcpus(&mut || {
        if let Some(work) = work.take() {
            result = Some(work());
        }
    })?;
    result.ok_or_else(|| Error::State("the vCPUs were held, and the work was not done".to_owned()))
}
