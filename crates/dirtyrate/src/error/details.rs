//! What an error says to programs: the same facts as its message, each under a name.

use std::io;

use super::Error;

/// One fact of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

impl Error {
    /// The facts that a program can act on: `call` and `errno` of a refused call, `limit`, `vcpu`, `block`, `path`, `bytes`. An error whose
    /// message is all that there is to know has none.
    pub fn details(&self) -> Details {
        match self {
            Self::KvmAbsent { path } | Self::NotKvm { path, .. } | Self::KernelImage { path, .. } => {
                vec![("path", path.display().to_string().into())]
            }
            Self::KvmPermission { path, source } => {
                std::iter::once(("path", path.display().to_string().into())).chain(errno(source)).collect()
            }
            Self::KvmVersion { path, found } => {
                vec![("path", path.display().to_string().into()), ("version", i64::from(*found).into())]
            }
            Self::KvmBusy { call, source } => refused(call, "", source),
            Self::Ioctl { call, context, source } => refused(call, context, source),
            Self::Limit { call, context, limit, source } => {
                let mut details = refused(call, context, source);
                details.push(("limit", limit.name().into()));
                details
            }
            Self::VcpuStuck { vcpu, waited } => {
                vec![
                    ("vcpu", (*vcpu).into()),
                    ("waitedMs", u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).into()),
                ]
            }
            Self::Layout { block, .. } => vec![("block", block.as_str().into())],
            Self::Memory { block, bytes, source } => {
                let mut details = vec![("block", block.as_str().into()), ("bytes", (*bytes).into())];
                details.extend(errno(source));
                details
            }
            Self::OutOfMemory { bytes, .. } => vec![("bytes", (*bytes as u64).into())],
            Self::GuestCrashed { vcpu, instruction_pointer, .. } => {
                let mut details = vec![("vcpu", (*vcpu).into())];
                details.extend(instruction_pointer.map(|at| ("instructionPointer", format!("{at:#x}").into())));
                details
            }
            Self::Argument(_)
            | Self::Workload(_)
            | Self::Unsupported(_)
            | Self::State(_)
            | Self::Paused(_)
            | Self::Cancelled
            | Self::Closed => Vec::new(),
        }
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

/// The kernel's number for its refusal, where the refusal is the kernel's.
fn errno(source: &io::Error) -> Option<(&'static str, Detail)> {
    source.raw_os_error().map(|number| ("errno", i64::from(number).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_is_named_with_its_errno() {
        let source = io::Error::from_raw_os_error(24);
        let error = Error::Ioctl { call: "KVM_CREATE_VCPU", context: "vCPU 44".to_owned(), source };
        let expected: Details =
            vec![("call", "KVM_CREATE_VCPU".into()), ("errno", 24_i64.into()), ("context", "vCPU 44".into())];
        assert_eq!(error.details(), expected);
    }

    #[test]
    fn a_block_without_memory_is_named_with_its_size() {
        let error = Error::Memory { block: "ram".to_owned(), bytes: 4096, source: io::Error::from_raw_os_error(12) };
        let expected: Details = vec![("block", "ram".into()), ("bytes", 4096_u64.into()), ("errno", 12_i64.into())];
        assert_eq!(error.details(), expected);
    }

    #[test]
    fn a_crash_has_its_vcpu_and_the_place() {
        let error = Error::GuestCrashed { vcpu: 1, reason: String::new(), instruction_pointer: Some(0x10) };
        assert_eq!(error.details(), vec![("vcpu", 1_u64.into()), ("instructionPointer", "0x10".into())]);
    }

    #[test]
    fn an_error_that_is_all_message_has_none() {
        assert_eq!(Error::Closed.details(), Vec::new());
    }
}
