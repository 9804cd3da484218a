//! What a guest does, as its user describes it.

use super::contract::MAX_VCPUS;
use super::error::WorkloadError;
use super::kind::{Kind, Pacing, Placement, Sharing};

/// What a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Which pages it writes, and in what order.
    pub kind: Kind,
    /// Size of the working set, all vCPUs together, in pages of the host's size.
    pub pages: u64,
    /// How many vCPUs write: those with an APIC id below this, and on arm64 with such a number in Aff1 and Aff0 (16 to
    /// an Aff1). If the VM has more vCPUs, they halt. It may also have fewer.
    pub vcpus: u32,
    /// How the vCPUs divide the working set.
    pub sharing: Sharing,
    /// Where the working set lies.
    pub placement: Placement,
    /// What decides how fast the guest writes.
    pub pacing: Pacing,
    /// The seed of the random kinds. The same seed gives the same writes.
    pub seed: u64,
}

impl Workload {
    /// Checks everything that does not depend on the RAM.
    pub(super) fn check(&self) -> Result<(), WorkloadError> {
        let Workload { pages, vcpus, .. } = *self;
        if pages == 0 {
            return Err(WorkloadError::NoPages);
        }
        if !(1..=MAX_VCPUS).contains(&vcpus) {
            return Err(WorkloadError::VcpusOutOfRange { vcpus });
        }
        if self.sharing == Sharing::Split && pages < u64::from(vcpus) {
            return Err(WorkloadError::MoreVcpusThanPages { vcpus, pages });
        }
        Ok(())
    }
}
