//! The functions that need no virtual machine: the probe, the layout of RAM, and the time of a process.

use std::path::Path;

use dirtyrate::host_page_size;
use dirtyrate::kvm::Capabilities;
use dirtyrate::kvm::capabilities::DEFAULT_KVM_PATH;
use napi_derive::napi;

use crate::convert::whole;
use crate::errors::{Result, thrown};
use crate::virtual_machine::{NativeBlockSpec, NativeManualProtect};

/// What this kernel's KVM can do.
#[napi(object)]
pub struct NativeCapabilities {
    pub api_version: i32,
    /// 'x86_64' or 'aarch64'.
    pub arch: String,
    pub manual_dirty_log_protect: NativeManualProtect,
    pub dirty_ring: bool,
    pub dirty_ring_acq_rel: bool,
    /// 0 if the kernel has no dirty rings.
    pub dirty_ring_entries: u32,
    pub dirty_ring_with_bitmap: bool,
    pub memory_slots: u32,
    pub vcpus: u32,
    pub recommended_vcpus: u32,
    pub immediate_exit: bool,
    pub sync_regs: bool,
    pub binary_stats_fd: bool,
    pub pre_fault_memory: bool,
    /// Whether guests run on the CPU's own two levels of page tables. On x86-64 the log then may have pages that the
    /// guest only reads, most of them its page tables.
    pub nested_paging: bool,
    /// Whether the CPU logs the pages that guests dirty; absent if KVM does not say it, as for HDBSS on arm64.
    pub page_modification_log: Option<bool>,
    /// Whether the kernel emulates guests; absent if that is not known.
    pub emulated: Option<bool>,
    /// Bytes.
    pub page_size: f64,
}

/// Asks the KVM at `path`, /dev/kvm by default. Throws ERR_KVM_ABSENT, ERR_KVM_PERMISSION, ERR_KVM_VERSION.
#[napi]
pub fn capabilities(path: Option<String>) -> Result<NativeCapabilities> {
    let path = path.unwrap_or_else(|| DEFAULT_KVM_PATH.to_owned());
    let found = Capabilities::probe(Path::new(&path)).map_err(thrown)?;
    Ok(NativeCapabilities {
        api_version: found.api_version,
        arch: std::env::consts::ARCH.to_owned(),
        manual_dirty_log_protect: found.manual_protect.try_into()?,
        dirty_ring: found.dirty_ring,
        dirty_ring_acq_rel: found.dirty_ring_acq_rel,
        dirty_ring_entries: found.dirty_ring_entries,
        dirty_ring_with_bitmap: found.dirty_ring_with_bitmap,
        memory_slots: found.memory_slots as u32,
        vcpus: found.vcpus as u32,
        recommended_vcpus: found.recommended_vcpus as u32,
        immediate_exit: found.immediate_exit,
        sync_regs: found.sync_regs,
        binary_stats_fd: found.binary_stats_fd,
        pre_fault_memory: found.pre_fault_memory,
        nested_paging: found.nested_paging,
        page_modification_log: found.page_modification_log,
        emulated: found.emulated,
        page_size: found.page_size as f64,
    })
}

/// The version of the package that this binary belongs to.
#[napi]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The host's page size in bytes. All counts of pages are in pages of this size. This needs no KVM.
#[napi(js_name = "hostPageSize")]
pub fn page_size() -> f64 {
    host_page_size() as f64
}

/// Lays `bytes` of RAM out around the hole between 3 and 4 GiB. Throws ERR_ARGUMENT.
#[napi]
pub fn layout_ram(bytes: f64) -> Result<Vec<NativeBlockSpec>> {
    let bytes = whole("memory", bytes)?;
    let blocks = dirtyrate_machine::layout::around_the_hole(bytes, host_page_size()).map_err(thrown)?;
    let native = |block: dirtyrate_machine::vm::BlockSpec| NativeBlockSpec {
        name: block.name,
        guest_address: block.guest_address as f64,
        bytes: block.bytes as f64,
    };
    Ok(blocks.into_iter().map(native).collect())
}

/// The CPU time of all threads of a process, including those that have ended, in ns. Throws ERR_ARGUMENT if there is no
/// such process.
#[napi]
pub fn process_cpu_ns(pid: u32) -> Result<f64> {
    Ok(dirtyrate_machine::process_cpu_time(pid).map_err(thrown)?.as_nanos() as f64)
}
