//! What JavaScript gets from an error of the core or of a machine: its code, and the facts of its message, each under a
//! name.
//!
//! This module does not use N-API, so that `tests/error_codes.rs` can test it.

use std::io;

use dirtyrate::{Error, Limit};
use dirtyrate_machine::MachineError;

/// The stable code of an error: see the table in the documentation.
pub fn code(error: &Error) -> &'static str {
    if let Some(error) = MachineError::of(error) {
        return match error {
            MachineError::Workload(_) => "ERR_ARGUMENT",
            MachineError::KernelImage { .. } => "ERR_KERNEL_IMAGE",
            MachineError::GuestCrashed { .. } => "ERR_GUEST_CRASHED",
            MachineError::Closed => "ERR_CLOSED",
            _ => UNKNOWN,
        };
    }
    match error {
        Error::KvmAbsent { .. } => "ERR_KVM_ABSENT",
        Error::KvmPermission { .. } => "ERR_KVM_PERMISSION",
        Error::KvmVersion { .. } | Error::NotKvm { .. } => "ERR_KVM_VERSION",
        Error::KvmBusy { .. } => "ERR_KVM_BUSY",
        Error::Ioctl { .. } => "ERR_KVM_IOCTL",
        Error::Limit { limit: Limit::Memory, .. } | Error::Memory { .. } | Error::OutOfMemory { .. } => "ERR_MEMORY",
        Error::Limit { .. } => "ERR_LIMIT",
        Error::VcpuStuck { .. } => "ERR_VCPU_STUCK",
        Error::Layout { .. } | Error::Argument(_) | Error::UnknownBlock { .. } | Error::NotOpen { .. } => {
            "ERR_ARGUMENT"
        }
        Error::Unsupported(_) => "ERR_UNSUPPORTED",
        Error::State(_)
        | Error::NoSlot { .. }
        | Error::NotTracking { .. }
        | Error::OtherLog { .. }
        | Error::LogInUse { .. }
        | Error::NotAttached { .. } => "ERR_STATE",
        Error::ProcessAbsent { .. } => "ERR_TARGET_ABSENT",
        Error::ProcessPermission { .. } => "ERR_TARGET_PERMISSION",
        Error::ProcessGone { .. } => "ERR_TARGET_GONE",
        Error::ProcessBusy { .. } => "ERR_MEASURING",
        Error::Paused(_) => "ERR_PAUSED",
        Error::Cancelled => "ERR_CANCELLED",
        _ => UNKNOWN,
    }
}

/// The code of an error that this binding does not know yet.
const UNKNOWN: &str = "ERR_INTERNAL";

/// One fact of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// A number: an errno, a vCPU, a number of bytes.
    Number(i64),
    /// A name: a call, a block, a file.
    Text(String),
}

/// The facts of an error, each with its name in the TypeScript API.
pub type Details = Vec<(&'static str, Detail)>;

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Detail {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Detail {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// The facts that a program can use: `call` and `errno` of a refused call, `limit`, `vcpu`, `block`, `path`, `bytes`,
/// `pid`.
/// Some errors have only a message, and no such facts.
pub fn details(error: &Error) -> Details {
    if let Some(error) = MachineError::of(error) {
        return match error {
            MachineError::KernelImage { path, .. } => vec![("path", path.display().to_string().into())],
            MachineError::GuestCrashed { vcpu, instruction_pointer, .. } => {
                let mut details = vec![("vcpu", (*vcpu).into())];
                details.extend(instruction_pointer.map(|at| ("instructionPointer", format!("{at:#x}").into())));
                details
            }
            _ => Vec::new(),
        };
    }
    match error {
        Error::KvmAbsent { path } | Error::NotKvm { path, .. } => vec![("path", path.display().to_string().into())],
        Error::KvmPermission { path, source } => {
            std::iter::once(("path", path.display().to_string().into())).chain(errno(source)).collect()
        }
        Error::KvmVersion { path, found } => {
            vec![("path", path.display().to_string().into()), ("version", i64::from(*found).into())]
        }
        Error::KvmBusy { call, source } => refused(call, "", source),
        Error::Ioctl { call, context, source } => refused(call, context, source),
        Error::Limit { call, context, limit, source } => {
            let mut details = refused(call, context, source);
            details.push(("limit", limit.name().into()));
            details
        }
        Error::ProcessAbsent { pid, .. } | Error::ProcessGone { pid, .. } | Error::ProcessBusy { pid } => {
            vec![("pid", u64::from(*pid).into())]
        }
        Error::ProcessPermission { pid, call, context, source } => {
            std::iter::once(("pid", u64::from(*pid).into())).chain(refused(call, context, source)).collect()
        }
        Error::VcpuStuck { vcpu, waited } => {
            vec![("vcpu", (*vcpu).into()), ("waitedMs", u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).into())]
        }
        Error::Layout { block, .. } => vec![("block", block.as_str().into())],
        Error::Memory { block, bytes, source } => {
            let mut details = vec![("block", block.as_str().into()), ("bytes", (*bytes).into())];
            details.extend(errno(source));
            details
        }
        Error::OutOfMemory { bytes, .. } => vec![("bytes", (*bytes as u64).into())],
        _ => Vec::new(),
    }
}

fn refused(call: &'static str, context: &str, source: &io::Error) -> Details {
    let mut details = vec![("call", call.into())];
    details.extend(errno(source));
    if !context.is_empty() {
        details.push(("context", context.into()));
    }
    details
}

/// The errno, if the kernel refused the call.
fn errno(source: &io::Error) -> Option<(&'static str, Detail)> {
    source.raw_os_error().map(|number| ("errno", i64::from(number).into()))
}
