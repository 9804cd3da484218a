//! One error type for the crate: a variant for each thing that a caller can act on.

mod failed_call;
mod limit;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use failed_call::FailedCall;
pub use limit::Limit;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such device.
    #[error("{} does not exist: this machine offers no KVM", path.display())]
    KvmAbsent {
        /// The device that was asked for.
        path: PathBuf,
    },
    /// The device exists, but this user (EACCES), or this container or sandbox (EPERM), may not open it.
    #[error("no permission to open {}: {source}", path.display())]
    KvmPermission {
        /// The device that was asked for.
        path: PathBuf,
        /// The kernel's answer: EACCES for the permissions of the file, EPERM for a policy.
        source: io::Error,
    },
    /// The device answers, but is not KVM with its stable API (version 12).
    #[error("{} is not KVM: its API version is {found}, expected 12", path.display())]
    KvmVersion {
        /// The device that was asked for.
        path: PathBuf,
        /// What KVM_GET_API_VERSION answered.
        found: i32,
    },
    /// The path leads to something that is not KVM's device.
    #[error("{} is not KVM: {problem}", path.display())]
    NotKvm {
        /// The path that was asked for.
        path: PathBuf,
        /// What it is instead.
        problem: String,
    },
    /// Another hypervisor uses this CPU's virtualization extension, which only one hypervisor can use at a time.
    #[error("{call} failed: {source}: another hypervisor uses this CPU's virtualization extension")]
    KvmBusy {
        /// The ioctl.
        call: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit or a policy of this host forbids a call that the kernel knows.
    #[error("{call} failed{}: {source}: {limit}", in_brackets(context))]
    Limit {
        /// The ioctl or system call, as the kernel spells it.
        call: &'static str,
        /// What it was about: the block, the vCPU, the thread.
        context: String,
        /// The limit or policy.
        limit: Limit,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A vCPU thread did not leave the guest, or the code of a device, although it was kicked again and again.
    #[error("vCPU {vcpu} did not stop within {} s", waited.as_secs())]
    VcpuStuck {
        /// The number of the vCPU.
        vcpu: u64,
        /// How long the caller waited for it.
        waited: Duration,
    },
    /// The kernel refused a call.
    #[error("{call} failed{}: {source}", in_brackets(context))]
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
    /// This process gets no more memory for its records.
    #[error("out of memory for {what} ({bytes} bytes); nothing was lost, and it can be tried again")]
    OutOfMemory {
        /// What the memory was needed for.
        what: &'static str,
        /// How many bytes were needed.
        bytes: usize,
    },
    /// There is no RAM block of this name.
    #[error("no RAM block '{block}': there is {}", known.join(", "))]
    UnknownBlock {
        /// The name that was asked for.
        block: String,
        /// The names of the blocks that exist.
        known: Vec<String>,
    },
    /// A block has no memory slot: it was removed, or never added.
    #[error("block {block} has no memory slot")]
    NoSlot {
        /// The number of its [`BlockId`](crate::BlockId).
        block: u64,
    },
    /// An accumulator was closed, or never opened.
    #[error("{client} is not open")]
    NotOpen {
        /// The name of its [`Client`](crate::dirty_memory::Client).
        client: String,
    },
    /// The call needs a client that tracks, and this client does not.
    #[error("{client} does not track: start tracking before a window")]
    NotTracking {
        /// The name of the [`Client`](crate::dirty_memory::Client).
        client: String,
    },
    /// The VM has a dirty log of another kind. The kernel cannot undo that, so only a new VM can have the log that was
    /// asked for.
    #[error("this VM has a {there}, and can never have a {asked}")]
    OtherLog {
        /// The kind that the VM has.
        there: &'static str,
        /// The kind that was asked for.
        asked: &'static str,
    },
    /// The VM has a dirty log already, which must be dropped before another one can be made.
    #[error("the VM has a {log} that is in use: drop that one first")]
    LogInUse {
        /// The kind of the log.
        log: &'static str,
    },
    /// The dirty ring of a vCPU is full, and was not attached.
    #[error(
        "the dirty ring of vCPU {vcpu} is full and nobody harvests it: {attached} vCPUs were attached; attach each before it runs"
    )]
    NotAttached {
        /// The vCPU's number.
        vcpu: usize,
        /// How many vCPUs are attached.
        attached: usize,
    },
    /// An argument is out of range or unknown.
    #[error("{0}")]
    Argument(String),
    /// This kernel cannot do what was asked for.
    #[error("{0}")]
    Unsupported(String),
    /// The VM is not in a state in which this can be done.
    #[error("{0}")]
    State(String),
    /// The VM is paused, or was paused within a measurement's window.
    #[error("{0}")]
    Paused(String),
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// There is no process with this number, as this process sees the numbers.
    #[error(
        "there is no process {pid}{}",
        if *other_namespace { " in the pid namespace of this process, although /proc shows one" } else { "" }
    )]
    ProcessAbsent {
        /// The number that was asked for.
        pid: u32,
        /// Whether `/proc` shows the processes of another pid namespace than that of this process.
        other_namespace: bool,
    },
    /// The memory of another process may not be read.
    #[error("no permission to read the memory of process {pid} ({}): {source}", with_context(call, context))]
    ProcessPermission {
        /// The process's number.
        pid: u32,
        /// The system call, as the kernel spells it.
        call: &'static str,
        /// The file that it was about; empty if it was about the process itself.
        context: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another measurement clears the soft-dirty bits of this process, which exist only once.
    #[error("another measurement uses the soft-dirty bits of process {pid}")]
    ProcessBusy {
        /// The process's number.
        pid: u32,
    },
    /// A process ended, or is no longer what it was, while it was measured.
    #[error("process {pid} {how}")]
    ProcessGone {
        /// The process's number.
        pid: u32,
        /// What happened, as the rest of a sentence.
        how: String,
    },
    /// The VMM's own error, from one of its callbacks: the one that stops its vCPUs, or the one that says whether its
    /// guest still runs.
    #[error(transparent)]
    Vmm(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Wraps the VMM's own error, so that the callers of this crate get it back.
    pub fn vmm(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Vmm(Box::new(error))
    }

    /// The error for a call that the kernel refused. Its errno says whether the reason is a limit of this host, another
    /// hypervisor, or the kernel itself.
    pub fn refused(call: &'static str, context: impl Into<String>, source: io::Error) -> Self {
        let errno = source.raw_os_error().unwrap_or(0);
        // For the first VM `kvm_create_vm` enables the extension on every CPU, and gives EBUSY if it is on already on
        // one of them.
        if call == "KVM_CREATE_VM" && errno == libc::EBUSY {
            return Self::KvmBusy { call, source };
        }
        match Limit::behind(call, errno) {
            Some(limit) => Self::Limit { call, context: context.into(), limit, source },
            None => Self::Ioctl { call, context: context.into(), source },
        }
    }

    /// The error for a call on the process `pid` that the kernel refused: this user has no permission, or something
    /// else is wrong, such as a limit of open files.
    pub(crate) fn process_refused(pid: u32, call: &'static str, context: impl Into<String>, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::ProcessPermission { pid, call, context: context.into(), source },
            _ => Self::refused(call, context, source),
        }
    }

    /// The error for a call that the kernel refused, from the `errno` of the calling thread, which is read before
    /// `context` allocates.
    pub fn last_ioctl(call: &'static str, context: impl FnOnce() -> String) -> Self {
        let source = io::Error::last_os_error();
        Self::refused(call, context(), source)
    }

    /// Whether a block has no log any more: its slot was deleted, or its log is off in the kernel, which then answers
    /// ENOENT to KVM_GET_DIRTY_LOG.
    pub(crate) fn is_of_no_log(&self) -> bool {
        match self {
            Self::NoSlot { .. } => true,
            Self::Ioctl { source, .. } => source.raw_os_error() == Some(libc::ENOENT),
            _ => false,
        }
    }

    /// The error for a refused ioctl of one of the rust-vmm crates.
    pub fn ioctl(call: &'static str, context: impl Into<String>, errno: kvm_ioctls::Error) -> Self {
        Self::refused(call, context, io::Error::from_raw_os_error(errno.errno()))
    }
}

fn in_brackets(context: &str) -> String {
    if context.is_empty() { String::new() } else { format!(" ({context})") }
}

fn with_context(call: &str, context: &str) -> String {
    if context.is_empty() { call.to_owned() } else { format!("{call} {context}") }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
