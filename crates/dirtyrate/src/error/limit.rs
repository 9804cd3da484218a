//! The limits and policies of a host that make a known call fail.

use std::fmt;

/// A limit or a policy of this host that forbids a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// RLIMIT_NOFILE, the open files of this process: two for each vCPU.
    OpenFiles,
    /// The open files of the whole system.
    SystemOpenFiles,
    /// The number of threads and processes of a user, a control group or the system. Also a lack of memory for a
    /// thread's stack, because the C library gives the same errno for both.
    Tasks,
    /// RLIMIT_SIGPENDING, the queued signals and timers of all of this user's processes.
    PendingSignals,
    /// RLIMIT_MEMLOCK, if this process locks all of its memory.
    LockedMemory,
    /// Memory: of the kernel, of a control group, or of this process's address space.
    Memory,
    /// A policy: a seccomp filter or a security module.
    Policy,
}

impl Limit {
    /// The limit that makes `call` fail with `errno`; `None` if the reason is not a limit.
    pub(super) fn behind(call: &str, errno: i32) -> Option<Self> {
        match errno {
            libc::EMFILE => Some(Self::OpenFiles),
            libc::ENFILE => Some(Self::SystemOpenFiles),
            libc::ENOMEM => Some(Self::Memory),
            libc::EPERM | libc::EACCES | libc::ENOSYS => Some(Self::Policy),
            libc::EAGAIN => match call {
                // In these calls KVM makes threads of its own (`kvm_mmu_post_init_vm`), which count as threads of the
                // caller.
                "pthread_create" | "KVM_CREATE_VM" | "KVM_CREATE_VCPU" | "KVM_RUN" => Some(Self::Tasks),
                "pthread_kill" | "timer_create" => Some(Self::PendingSignals),
                "mmap" => Some(Self::LockedMemory),
                _ => None,
            },
            _ => None,
        }
    }

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenFiles => "open-files",
            Self::SystemOpenFiles => "system-open-files",
            Self::Tasks => "tasks",
            Self::PendingSignals => "pending-signals",
            Self::LockedMemory => "locked-memory",
            Self::Memory => "memory",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenFiles => "this process may have no more open files (ulimit -n)",
            Self::SystemOpenFiles => "the system may have no more open files (fs.file-max)",
            Self::Tasks => {
                "there may be no more threads (ulimit -u, the control group's pids.max, kernel.threads-max), or \
                 there is no memory for one"
            }
            Self::PendingSignals => "this user may have no more pending signals (ulimit -i)",
            Self::LockedMemory => "this process may lock no more memory (ulimit -l)",
            Self::Memory => "out of memory (of the host, of the control group, or ulimit -v)",
            Self::Policy => "a policy of this host forbids it (seccomp, a security module)",
        })
    }
}
