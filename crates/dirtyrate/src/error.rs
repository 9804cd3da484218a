//! One error type for the crate: a variant for each thing that a caller can act on.

mod details;

use std::io;
use std::path::PathBuf;

pub use details::{Detail, Details};

use crate::workload::WorkloadError;

/// What went wrong. [`Error::code`] is stable and is what the TypeScript API shows as `code`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such device.
    #[error("{} does not exist: this machine offers no KVM", path.display())]
    KvmAbsent {
        /// The device that was asked for.
        path: PathBuf,
    },
    /// The device is there, but not for this user.
    #[error("no permission to open {}", path.display())]
    KvmPermission {
        /// The device that was asked for.
        path: PathBuf,
    },
    /// The device answers, but not as KVM with its stable API (version 12).
    #[error("{} is not KVM: its API version is {found}, expected 12", path.display())]
    KvmVersion {
        /// The device that was asked for.
        path: PathBuf,
        /// What KVM_GET_API_VERSION answered; -1 under user-mode emulation, which passes the ioctl to nobody.
        found: i32,
    },
    /// The kernel refused a call.
    #[error("{call} failed{}: {source}", if context.is_empty() { String::new() } else { format!(" ({context})") })]
    Ioctl {
        /// The ioctl or system call, as the kernel spells it.
        call: &'static str,
        /// What it was about: the block, the pages, the vCPU.
        context: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A RAM block does not fit where it was asked for.
    #[error("RAM block '{block}': {problem}")]
    Layout {
        /// The block's name.
        block: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The host has no memory for a block.
    #[error("cannot reserve {bytes} bytes for RAM block '{block}': {source}")]
    Memory {
        /// The block's name.
        block: String,
        /// The size asked for.
        bytes: u64,
        /// The kernel's answer.
        source: io::Error,
    },
    /// This process gets no more memory for what it must remember.
    #[error("out of memory for {what} ({bytes} bytes); nothing was lost, and it can be tried again")]
    OutOfMemory {
        /// What would have been remembered.
        what: &'static str,
        /// How much it would take.
        bytes: usize,
    },
    /// An argument is out of range or unknown.
    #[error("{0}")]
    Argument(String),
    /// The guest program cannot be built as asked.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// This kernel cannot do what was asked for.
    #[error("{0}")]
    Unsupported(String),
    /// The file is not a kernel that can be booted.
    #[error("{}: {problem}", path.display())]
    KernelImage {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The VM is not in a state in which this can be done.
    #[error("{0}")]
    State(String),
    /// The VM is paused, or was paused within a measurement's window.
    #[error("{0}")]
    Paused(String),
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
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// The VM was closed.
    #[error("the virtual machine is closed")]
    Closed,
}

impl Error {
    /// The stable code of this error: see the table in the README.
    pub fn code(&self) -> &'static str {
        match self {
            Self::KvmAbsent { .. } => "ERR_KVM_ABSENT",
            Self::KvmPermission { .. } => "ERR_KVM_PERMISSION",
            Self::KvmVersion { .. } => "ERR_KVM_VERSION",
            Self::Ioctl { .. } => "ERR_KVM_IOCTL",
            Self::Memory { .. } | Self::OutOfMemory { .. } => "ERR_MEMORY",
            Self::Layout { .. } | Self::Argument(_) | Self::Workload(_) => "ERR_ARGUMENT",
            Self::Unsupported(_) => "ERR_UNSUPPORTED",
            Self::KernelImage { .. } => "ERR_KERNEL_IMAGE",
            Self::State(_) => "ERR_STATE",
            Self::Paused(_) => "ERR_PAUSED",
            Self::GuestCrashed { .. } => "ERR_GUEST_CRASHED",
            Self::Cancelled => "ERR_CANCELLED",
            Self::Closed => "ERR_CLOSED",
        }
    }

    /// A refused ioctl, from the `errno` of the calling thread's last call, which is read before `context` allocates.
    pub(crate) fn last_ioctl(call: &'static str, context: impl FnOnce() -> String) -> Self {
        let source = io::Error::last_os_error();
        Self::Ioctl { call, context: context(), source }
    }

    /// A refused ioctl of one of the rust-vmm crates.
    pub(crate) fn ioctl(call: &'static str, context: impl Into<String>, errno: vmm_sys_util::errno::Error) -> Self {
        Self::Ioctl { call, context: context.into(), source: io::Error::from_raw_os_error(errno.errno()) }
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
