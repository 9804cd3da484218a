//! Loading what is booted: by the protocol of the architecture.

#[cfg(target_arch = "x86_64")]
mod acpi;
#[cfg(target_arch = "aarch64")]
mod arm64;
#[cfg(target_arch = "x86_64")]
mod bzimage;
#[cfg(target_arch = "aarch64")]
mod device_tree;
mod kernel;
mod plan;
#[cfg(target_arch = "x86_64")]
mod pvh;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::ops::Range;
use std::path::Path;

#[cfg(target_arch = "aarch64")]
use arm64::load;
use kernel::refusal;
use plan::Plan;
#[cfg(target_arch = "x86_64")]
use x86_64::load;

use super::KernelOptions;
use crate::error::Result;
use crate::kvm::Vm;

/// Loads a kernel file, and an initrd where there is one.
pub(super) fn load_file(vm: &Vm, options: &KernelOptions) -> Result<()> {
    let file = kernel::read(&options.kernel, "kernel")?;
    let initrd = match options.initrd.as_deref() {
        Some(path) => Some((path, kernel::read(path, "initrd")?)),
        None => None,
    };
    load(vm, &options.kernel, &file, &options.cmdline, initrd)
}

/// Loads a kernel that is in memory; `name` is what errors call it.
pub(super) fn load_bytes(vm: &Vm, elf: &[u8], name: &Path) -> Result<()> {
    load(vm, name, elf, "", None)
}

/// Refuses a kernel that is not all in RAM, or lies in one of the ranges that are `taken` for what it is told.
fn check_room(vm: &Vm, path: &Path, plan: &Plan, taken: &[Range<u64>]) -> Result<()> {
    if let Some((address, length)) = plan.outside_ram(vm) {
        let end = vm.memory_end();
        let text =
            format!("larger than memory: {length} bytes at {address:#x} are not all in RAM, which ends at {end:#x}");
        return Err(refusal(path, text));
    }
    match taken.iter().find(|range| plan.touches(range)) {
        Some(Range { start, end }) => {
            Err(refusal(path, format!("it lies at {start:#x}..{end:#x}, where the boot parameters go")))
        }
        None => Ok(()),
    }
}
