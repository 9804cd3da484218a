//! The errors of a machine of our own that the core does not have.

use std::path::PathBuf;

use crate::workload::WorkloadError;

/// An error of the machine. Every function of this crate returns [`dirtyrate::Error`], and an error of the machine is
/// in its variant [`Error::Vmm`](dirtyrate::Error::Vmm): see [`MachineError::of`].
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
    /// A vCPU ended unexpectedly, and so the VM ended too.
    #[error("the guest crashed: vCPU {vcpu}: {reason}{}", instruction_pointer.map_or(String::new(), |at| format!(" at {at:#x}")))]
    GuestCrashed {
        /// The vCPU that ended first.
        vcpu: u64,
        /// The reason, in the kernel's terms.
        reason: String,
        /// The vCPU's instruction pointer, if the kernel could still say it.
        instruction_pointer: Option<u64>,
    },
    /// The VM was closed.
    #[error("the virtual machine is closed")]
    Closed,
}

impl MachineError {
    /// The error of the machine that `error` contains; `None` if `error` is one of the core.
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
