//! What can go wrong with a machine of our own, beyond what the core knows of.

use std::path::PathBuf;

use crate::workload::WorkloadError;

/// What went wrong. Every function of this crate returns [`dirtyrate::Error`], which has one of these as
/// [`Error::Vmm`](dirtyrate::Error::Vmm) where it is the machine's own: see [`MachineError::of`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The guest program cannot be built as asked.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The file is not a kernel that can be booted.
    #[error("{}: {problem}", path.display())]
    KernelImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A vCPU ended unexpectedly, and the VM with it.
    #[error("the guest crashed: vCPU {vcpu}: {reason}{}", instruction_pointer.map_or(String::new(), |at| format!(" at {at:#x}")))]
    GuestCrashed {
        /// The vCPU that ended first.
        vcpu: u64,
        /// Why, in the kernel's terms.
        reason: String,
        /// Where it stood, where the kernel could still say so.
        instruction_pointer: Option<u64>,
    },
    /// The VM was closed.
    #[error("the virtual machine is closed")]
    Closed,
}

impl MachineError {
    /// The machine's own error that `error` is, if it is one.
    pub fn of(error: &dirtyrate::Error) -> Option<&Self> {
        match error {
            dirtyrate::Error::Vmm(error) => error.downcast_ref(),
            _ => None,
        }
    }
}

impl From<MachineError> for dirtyrate::Error {
    fn from(error: MachineError) -> Self {
        Self::vmm(error)
    }
}

impl From<WorkloadError> for dirtyrate::Error {
    fn from(error: WorkloadError) -> Self {
        MachineError::from(error).into()
    }
}
