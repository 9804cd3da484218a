//! Loads a kernel and an initrd by the boot protocols of the architecture.
//!
//! First everything is planned and checked, for which only the headers of the files are read. Then the plan is carried
//! out. The cost depends on the bytes that the files really have, and not on what their headers state.

#[cfg(target_arch = "x86_64")]
mod acpi;
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "only tests and fuzzing plan for arm64 elsewhere"))]
mod arm64;
#[cfg(target_arch = "x86_64")]
mod bzimage;
mod command_line;
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
mod device_tree;
mod elf;
mod file;
mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(target_arch = "x86_64")]
mod memory_map;
mod plan;
#[cfg(target_arch = "x86_64")]
mod pvh;
mod ram;
#[cfg(target_arch = "x86_64")]
mod start;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::path::{Path, PathBuf};

#[cfg(target_arch = "aarch64")]
use arm64 as arch;
use file::BootFile;
use ram::Ram;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

use crate::vm::Vm;
use dirtyrate::Result;

/// What is booted.
#[derive(Debug, Clone)]
pub struct KernelOptions {
    /// An ELF with a PVH entry (a `vmlinux`, or a guest of [`workload`](crate::workload)), or a Linux bzImage. On arm64
    /// an `Image`, or an ELF that is entered with the MMU off.
    pub kernel: PathBuf,
    /// A file that the kernel gets as PVH's first module, or as Linux's initrd.
    pub initrd: Option<PathBuf>,
    /// The command line.
    pub cmdline: String,
}

/// Loads a kernel file, and the initrd if there is one. An error of `go_on` ends the load.
pub(crate) fn load_file(vm: &Vm, options: &KernelOptions, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
    // This is checked before any file is opened.
    command_line::check(&options.cmdline, arch::COMMAND_LINE_BYTES)?;
    let kernel = BootFile::open(&options.kernel, "kernel")?;
    let initrd = options.initrd.as_deref().map(|path| BootFile::open(path, "initrd")).transpose()?;
    load(vm, &kernel, &options.cmdline, initrd.as_ref(), go_on)
}

/// Loads a kernel that is in memory. `name` is its name in errors.
pub(crate) fn load_bytes(vm: &Vm, elf: &[u8], name: &Path, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
    load(vm, &BootFile::of_bytes(elf, name)?, "", None, go_on)
}

fn load<'a>(
    vm: &Vm,
    kernel: &'a BootFile<'a>,
    cmdline: &str,
    initrd: Option<&'a BootFile<'a>>,
    go_on: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let (plan, start) = arch::plan(&Ram::of(vm)?, kernel, cmdline, initrd)?;
    arch::enter(vm, &start)?;
    plan.carry_out(vm, go_on)
}
