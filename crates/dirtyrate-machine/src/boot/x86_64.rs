//! Direct boot on x86-64: the common part of PVH (`pvh`) and Linux's own protocol (`bzimage`).

use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;

use super::bzimage::BzImage;
use super::file::BootFile;
use super::memory_map::Given;
use super::plan::Plan;
use super::ram::Ram;
pub(super) use super::start::COMMAND_LINE_BYTES;
use super::start::{COMMAND_LINE, PARAMETERS, Start};
use super::{acpi, command_line, elf, format, pvh};
use crate::layout::HOLE_START;
use crate::vm::Vm;
use dirtyrate::{Error, Result};

/// CR0.PE: protected mode. CR0.ET is always set.
const CR0_PE_ET: u64 = 1 << 0 | 1 << 4;
/// The one bit of RFLAGS that is always set.
const RFLAGS_RESERVED: u64 = 1 << 1;
/// The selectors of code and data, as Linux's protocol demands them. PVH allows any.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
/// The end of the first MiB, which is for boot parameters and not for the kernel.
const LOW_END: u64 = 1 << 20;
/// An initrd is put below this address, as high as it fits, so that it is out of the kernel's way.
const INITRD_BELOW: u64 = HOLE_START;

/// Plans the loading of a kernel, which is an ELF for PVH or a bzImage. Returns how the kernel is entered. Checks that
/// need no file come first.
pub(super) fn plan<'a>(
    ram: &Ram,
    kernel: &'a BootFile<'a>,
    cmdline: &str,
    initrd: Option<&'a BootFile<'a>>,
) -> Result<(Plan<'a>, Start)> {
    if !ram.has(0, LOW_END) {
        return Err(kernel.refusal("a machine boots from the first MiB of RAM: give it a block at address 0"));
    }
    let mut plan = Plan::default();
    let linux = BzImage::plan(kernel, &mut plan)?;
    let pvh_entry = match &linux {
        Some(_) => 0,
        None if kernel.head().starts_with(elf::MAGIC) => elf::plan(kernel, &mut plan)?,
        None => return Err(kernel.refusal(format::name(kernel.head()))),
    };
    let most = linux.as_ref().map_or(COMMAND_LINE_BYTES, |linux| linux.command_line_bytes().min(COMMAND_LINE_BYTES));
    command_line::check(cmdline, most)?;
    let tables = acpi::tables(ram.vcpus);
    let tables_at = acpi::TABLES..acpi::TABLES + tables.len() as u64;
    let command_line_at = COMMAND_LINE..COMMAND_LINE + COMMAND_LINE_BYTES as u64;
    plan.check_room(ram, kernel, &[PARAMETERS, command_line_at.clone(), tables_at.clone()])?;
    let below = linux.as_ref().map_or(INITRD_BELOW, |linux| linux.initrd_end().min(INITRD_BELOW));
    let initrd = initrd.map(|initrd| place_initrd(ram, initrd, below, &mut plan)).transpose()?;
    plan.write(COMMAND_LINE, [cmdline.as_bytes(), &[0]].concat());
    plan.write(acpi::TABLES, tables);
    let given = [(PARAMETERS, Given::Parameters), (command_line_at, Given::Parameters), (tables_at, Given::Acpi)];
    let start = match linux {
        Some(linux) => linux.plan_parameters(ram, &given, initrd, &mut plan)?,
        None => pvh::plan_start_info(ram, &given, pvh_entry, initrd, &mut plan)?,
    };
    Ok((plan, start))
}

/// Plans the initrd, as high as it fits. Returns its address and length.
fn place_initrd<'a>(ram: &Ram, initrd: &'a BootFile<'a>, below: u64, plan: &mut Plan<'a>) -> Result<(u64, u64)> {
    let length = initrd.length();
    let top = ram.blocks().first().filter(|(start, _)| *start == 0).map_or(0, |&(_, bytes)| bytes.min(below));
    let start = top.checked_sub(length).map(|start| start / ram.page_size * ram.page_size);
    let Some(start) = start.filter(|&start| start >= plan.end().max(LOW_END)) else {
        return Err(initrd.refusal(format!("{length} bytes do not fit between the kernel and {top:#x}")));
    };
    plan.write_file(start, initrd, 0, length);
    Ok((start, length))
}

/// Puts the first vCPU into the state that both protocols demand: 32-bit protected mode, flat segments, no paging. The
/// other vCPUs wait for their INIT.
pub(super) fn enter(vm: &Vm, start: &Start) -> Result<()> {
    vm.vcpus()?.set_up(|vcpus| {
        let Some(first) = vcpus.first() else { return Ok(()) };
        set_registers(first, start)
    })
}

fn set_registers(vcpu: &VcpuFd, start: &Start) -> Result<()> {
    let segment = |kind: u8, selector: u16| kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    let mut sregs = vcpu.get_sregs().map_err(|errno| Error::ioctl("KVM_GET_SREGS", "vCPU 0", errno))?;
    // Types (Intel SDM 3A, 3.4.5.1): 0xb is code, readable, accessed; 3 is data, writable, accessed.
    sregs.cs = segment(0xb, CODE_SELECTOR);
    let data = segment(0x3, DATA_SELECTOR);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    // A busy 32-bit TSS, which Intel's entry checks want.
    sregs.tr = kvm_segment { limit: 0x67, selector: 0x20, type_: 0xb, present: 1, ..Default::default() };
    if let Some((base, limit)) = start.descriptors {
        (sregs.gdt.base, sregs.gdt.limit) = (base, limit);
    }
    sregs.cr0 = CR0_PE_ET;
    sregs.cr4 = 0;
    sregs.efer = 0;
    vcpu.set_sregs(&sregs).map_err(|errno| Error::ioctl("KVM_SET_SREGS", "vCPU 0", errno))?;
    let &Start { rip, rbx, rsi, .. } = start;
    let regs = kvm_regs { rip, rbx, rsi, rflags: RFLAGS_RESERVED, ..Default::default() };
    vcpu.set_regs(&regs).map_err(|errno| Error::ioctl("KVM_SET_REGS", "vCPU 0", errno))
}
