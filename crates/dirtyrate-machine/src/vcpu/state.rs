//! What a VM is doing, and how it ended.

use crate::error::MachineError;
use dirtyrate::Error;

/// What a VM is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Not started yet.
    Created,
    /// The vCPUs run.
    Running,
    /// Stopped until it is resumed.
    Paused,
    /// Ended by request.
    Shutdown,
    /// Ended by a vCPU's unexpected exit.
    Crashed,
}

/// Why a vCPU ended unexpectedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// The vCPU.
    pub vcpu: u64,
    /// Why, in the kernel's terms.
    pub reason: String,
    /// The vCPU's instruction pointer, if the kernel could say it.
    pub instruction_pointer: Option<u64>,
    /// The call that this host refused, if the vCPU could not go on for that reason. Then the guest itself has done
    /// nothing wrong.
    pub refused: Option<Refused>,
}

/// A call that a vCPU needs to run, and that the host refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// KVM_RUN, or pthread_create.
    pub call: &'static str,
    /// The kernel's answer.
    pub errno: i32,
}

impl From<&Crash> for Error {
    fn from(crash: &Crash) -> Self {
        if let Some(Refused { call, errno }) = crash.refused {
            return Self::refused(call, format!("vCPU {}", crash.vcpu), std::io::Error::from_raw_os_error(errno));
        }
        MachineError::GuestCrashed {
            vcpu: crash.vcpu,
            reason: crash.reason.clone(),
            instruction_pointer: crash.instruction_pointer,
        }
        .into()
    }
}
