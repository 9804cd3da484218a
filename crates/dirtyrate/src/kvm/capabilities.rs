//! One probe of `/dev/kvm`, which finds everything that the project needs to know about a kernel.

use std::ffi::CString;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use kvm_bindings::KVM_API_VERSION;
use kvm_ioctls::{Cap, Kvm};
use vmm_sys_util::errno;

use super::guest_paging;
use super::ioctls::{
    CAP_BINARY_STATS_FD, CAP_DIRTY_LOG_RING, CAP_DIRTY_LOG_RING_ACQ_REL, CAP_DIRTY_LOG_RING_WITH_BITMAP,
    CAP_MANUAL_DIRTY_LOG_PROTECT2, CAP_PRE_FAULT_MEMORY,
};
use super::manual_protect::ManualProtect;
use super::signals::uninterrupted;
use crate::error::{Error, Result};
use crate::page_size::host_page_size;

/// The usual path of KVM's device.
pub const DEFAULT_KVM_PATH: &str = "/dev/kvm";

/// Bytes of an entry of the dirty ring (`struct kvm_dirty_gfn`).
const RING_ENTRY_BYTES: u32 = 16;

/// What this kernel's KVM can do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// KVM_GET_API_VERSION; always 12.
    pub api_version: i32,
    /// The best state of manual protect that the kernel has.
    pub manual_protect: ManualProtect,
    /// Whether a dirty ring can be enabled as KVM_CAP_DIRTY_LOG_RING.
    pub dirty_ring: bool,
    /// Whether a dirty ring can be enabled as KVM_CAP_DIRTY_LOG_RING_ACQ_REL.
    pub dirty_ring_acq_rel: bool,
    /// The most entries that a vCPU's ring may have; 0 without rings.
    pub dirty_ring_entries: u32,
    /// Whether a VM with rings can use the bitmap too, for writes that no vCPU made.
    pub dirty_ring_with_bitmap: bool,
    /// The most memory slots of a VM.
    pub memory_slots: usize,
    /// The most vCPUs of a VM.
    pub vcpus: usize,
    /// How many vCPUs the kernel recommends at most.
    pub recommended_vcpus: usize,
    /// KVM_CAP_IMMEDIATE_EXIT, without which a vCPU cannot be stopped without a race.
    pub immediate_exit: bool,
    /// KVM_CAP_SYNC_REGS.
    pub sync_regs: bool,
    /// KVM_CAP_BINARY_STATS_FD.
    pub binary_stats_fd: bool,
    /// KVM_CAP_PRE_FAULT_MEMORY.
    pub pre_fault_memory: bool,
    /// Whether guests run on the CPU's own two levels of page tables (AMD's NPT, Intel's EPT; arm64 always).
    pub nested_paging: bool,
    /// Whether the CPU writes a log of the pages that guests dirty, from which KVM makes its own log: PML on Intel and
    /// AMD, HDBSS on arm64. KVM's module for this CPU says so in its parameter `pml`; `None` if no module has this
    /// parameter. On arm64 it is always `None`, because no released kernel says whether it uses HDBSS.
    pub page_modification_log: Option<bool>,
    /// Whether the kernel runs the guests' code in an emulator. `None` if KVM's modules are none of the known ones.
    pub emulated: Option<bool>,
    /// The end of the guest physical addresses. With nested paging it is the end of what this CPU's second level of
    /// page tables can map.
    pub guest_address_end: u64,
    /// The host's page size in bytes, which is the unit of the dirty log.
    pub page_size: u64,
}

impl Capabilities {
    /// Asks the KVM at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::KvmAbsent`]; [`Error::KvmPermission`]; [`Error::KvmVersion`], also for a device that is not KVM.
    pub fn probe(path: &Path) -> Result<Self> {
        Ok(Self::of(&open_kvm(path)?))
    }

    /// Whether the log may have pages that the guest did not write. On x86-64 with nested paging it may, for two
    /// reasons. The CPU's walks through the guest's page tables count as writes to these tables (AMD64 Programmer's
    /// Manual 2, 15.25.5; Intel SDM 3C, 28.3.3.2, with accessed and dirty bits in EPT). And when the guest reads a page
    /// for the first time, KVM maps it writable and logs it (`make_spte`); it does so again after a slot was removed,
    /// because that unmaps everything. arm64's KVM does not: while it logs, it maps only those pages writable that the
    /// guest writes (`user_mem_abort`).
    pub fn logs_reads(&self) -> bool {
        cfg!(target_arch = "x86_64") && self.nested_paging
    }

    /// Probes a KVM that is open already.
    pub fn of(kvm: &Kvm) -> Self {
        let raw = |capability: u32| kvm.check_extension_raw(capability.into());
        let ring = raw(CAP_DIRTY_LOG_RING).max(0);
        let ring_acq_rel = raw(CAP_DIRTY_LOG_RING_ACQ_REL).max(0);
        Self {
            api_version: kvm.get_api_version(),
            manual_protect: ManualProtect::from_capability(raw(CAP_MANUAL_DIRTY_LOG_PROTECT2)),
            dirty_ring: ring > 0,
            dirty_ring_acq_rel: ring_acq_rel > 0,
            dirty_ring_entries: ring.max(ring_acq_rel).unsigned_abs() / RING_ENTRY_BYTES,
            dirty_ring_with_bitmap: raw(CAP_DIRTY_LOG_RING_WITH_BITMAP) > 0,
            memory_slots: kvm.get_nr_memslots(),
            vcpus: kvm.get_max_vcpus(),
            recommended_vcpus: kvm.get_nr_vcpus(),
            immediate_exit: kvm.check_extension(Cap::ImmediateExit),
            sync_regs: kvm.check_extension(Cap::SyncRegs),
            binary_stats_fd: raw(CAP_BINARY_STATS_FD) > 0,
            pre_fault_memory: raw(CAP_PRE_FAULT_MEMORY) > 0,
            nested_paging: guest_paging::nested_paging(),
            page_modification_log: guest_paging::page_modification_log(),
            emulated: guest_paging::emulated(),
            guest_address_end: 1 << guest_paging::guest_address_bits(kvm),
            page_size: host_page_size(),
        }
    }
}

/// Opens KVM's device, and makes sure that it is KVM.
pub fn open_kvm(path: &Path) -> Result<Kvm> {
    let owned = || PathBuf::from(path);
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::Argument("a path cannot contain a NUL byte".to_owned()))?;
    // The kind of the file is looked at first, because opening another kind of file (a FIFO, a terminal) may block or
    // have an effect.
    let kind = std::fs::metadata(path).map(|found| found.file_type());
    if let Ok(problem) = kind.map(what_it_is)
        && let Some(problem) = problem
    {
        return Err(Error::NotKvm { path: owned(), problem: problem.to_owned() });
    }
    let opened = uninterrupted(|| {
        // SAFETY: the name is a NUL-terminated string that outlives the call.
        match unsafe { libc::open(name.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK) } {
            -1 => Err(errno::Error::last()),
            fd => Ok(fd),
        }
    });
    let fd = opened.map_err(|errno| match errno.errno() {
        // The device file can exist although no module provides the device.
        libc::ENOENT | libc::ENODEV | libc::ENXIO | libc::ENOTDIR => Error::KvmAbsent { path: owned() },
        libc::EACCES | libc::EPERM => Error::KvmPermission { path: owned(), source: errno.into() },
        libc::ELOOP => Error::NotKvm { path: owned(), problem: "its links lead in a circle".to_owned() },
        libc::ENAMETOOLONG => Error::NotKvm { path: owned(), problem: "its path is too long".to_owned() },
        _ => Error::ioctl("open", path.display().to_string(), errno),
    })?;
    // SAFETY: the descriptor was just opened, and nobody else owns it.
    let kvm = unsafe { Kvm::from_raw_fd(fd) };
    match kvm.get_api_version() {
        version if version == KVM_API_VERSION as i32 => Ok(kvm),
        -1 => Err(match errno::Error::last() {
            // Another device answered; or user-mode emulation, which does not know the ioctl.
            unknown if matches!(unknown.errno(), libc::ENOTTY | libc::ENOSYS | libc::EINVAL) => {
                let problem = "it is a device that does not know KVM_GET_API_VERSION".to_owned();
                Error::NotKvm { path: owned(), problem }
            }
            refused => Error::ioctl("KVM_GET_API_VERSION", path.display().to_string(), refused),
        }),
        found => Err(Error::KvmVersion { path: owned(), found }),
    }
}

/// The word for a kind of file that KVM's device cannot be.
fn what_it_is(kind: std::fs::FileType) -> Option<&'static str> {
    match () {
        () if kind.is_char_device() => None,
        () if kind.is_dir() => Some("it is a directory"),
        () if kind.is_file() => Some("it is a regular file"),
        () if kind.is_fifo() => Some("it is a FIFO"),
        () if kind.is_socket() => Some("it is a socket"),
        () => Some("it is a block device"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_protect_is_what_qemu_makes_of_the_capability() {
        let cases = [
            (-1, ManualProtect::None),
            (0, ManualProtect::None),
            (1, ManualProtect::Enable),
            (2, ManualProtect::None),
            (3, ManualProtect::InitiallySet),
            (7, ManualProtect::InitiallySet),
        ];
        for (value, expected) in cases {
            assert_eq!(ManualProtect::from_capability(value), expected, "capability {value}");
        }
    }

    #[test]
    fn what_is_not_kvm_is_told_apart() {
        let probe = |path: &str| Capabilities::probe(Path::new(path)).expect_err(path);
        assert!(matches!(probe("/dev/no-such-device"), Error::KvmAbsent { .. }));
        assert!(matches!(probe("/dev/null/kvm"), Error::KvmAbsent { .. }));
        for (path, is) in
            [("/dev/null", "does not know"), ("/dev", "a directory"), ("/proc/self/status", "a regular file")]
        {
            let error = probe(path);
            assert!(matches!(error, Error::NotKvm { .. }) && error.to_string().contains(is), "{path}: {error}");
        }
        assert!(matches!(probe("/dev\0/kvm"), Error::Argument(_)));
        let long = format!("/{}", "x".repeat(5000));
        let link = std::env::temp_dir().join(format!("dirtyrate-loop-{}", std::process::id()));
        std::os::unix::fs::symlink(&link, &link).expect("a link to itself");
        for (path, is) in [(link.to_str().expect("UTF-8"), "in a circle"), (&long, "too long")] {
            let error = probe(path);
            assert!(matches!(error, Error::NotKvm { .. }) && error.to_string().contains(is), "{path}: {error}");
        }
        std::fs::remove_file(&link).expect("the link is there");
    }
}
