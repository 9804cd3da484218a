//! Direct boot by PVH: an ELF whose note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry, and `hvm_start_info` in memory
//! (Xen, docs/misc/pvh.pandoc).

use std::path::Path;

use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::{ByteValued, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::kernel::{self, refusal};
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::kvm::Vm;
use crate::machine::KernelOptions;
use crate::machine::layout::HOLE_START;

/// `hvm_start_info` of PVH.
const START_INFO: u64 = 0x6000;
/// The modules that it points to.
const MODULES: u64 = 0x6800;
/// The memory map that it points to.
const MEMORY_MAP: u64 = 0x7000;
/// Where the memory map has to end: the guests of `workload` put their other vCPUs' first instructions there.
const MEMORY_MAP_END: u64 = 0x8000;
/// The command line.
const COMMAND_LINE: u64 = 0x2_0000;
/// The most bytes in a command line, with its final zero (Linux: COMMAND_LINE_SIZE).
const COMMAND_LINE_BYTES: usize = 2048;
/// `XEN_HVM_START_MAGIC_VALUE`.
const START_MAGIC: u32 = 0x336e_c578;
/// Version 1 has the memory map.
const START_INFO_VERSION: u32 = 1;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const MEMORY_MAP_RAM: u32 = 1;
/// CR0.PE: protected mode. CR0.ET is always set.
const CR0_PE_ET: u64 = 1 << 0 | 1 << 4;
/// The one bit of RFLAGS that is always set.
const RFLAGS_RESERVED: u64 = 1 << 1;
/// The first MiB, which is for what hands over to the kernel.
const LOW_END: u64 = 1 << 20;
/// Where an initrd is put: below this, as high as it fits, so that it is out of the kernel's way.
const INITRD_BELOW: u64 = HOLE_START;

/// Loads a kernel file, and an initrd where there is one.
pub fn load_file(vm: &Vm, options: &KernelOptions) -> Result<()> {
    let kernel = kernel::read(&options.kernel)?;
    let initrd = match options.initrd.as_deref() {
        Some(path) => Some((path, kernel::read(path)?)),
        None => None,
    };
    load(vm, &options.kernel, &kernel, &options.cmdline, initrd)
}

/// Loads a kernel that is in memory; `name` is what errors call it.
pub fn load_bytes(vm: &Vm, elf: &[u8], name: &Path) -> Result<()> {
    load(vm, name, elf, "", None)
}

fn load(vm: &Vm, path: &Path, elf: &[u8], cmdline: &str, initrd: Option<(&Path, Vec<u8>)>) -> Result<()> {
    if cmdline.len() >= COMMAND_LINE_BYTES || cmdline.contains('\0') {
        let text = format!("a command line has less than {COMMAND_LINE_BYTES} bytes and no NUL");
        return Err(Error::Argument(text));
    }
    if !vm.memory().check_range(GuestAddress(0), LOW_END as usize) {
        return Err(refusal(path, "a machine boots from the first MiB of RAM: give it a block at address 0"));
    }
    let mut plan = Plan::default();
    let entry = kernel::plan(elf, path, &mut plan)?;
    if let Some((address, length)) = plan.outside_ram(vm) {
        let end = vm.memory_end();
        let text =
            format!("larger than memory: {length} bytes at {address:#x} are not all in RAM, which ends at {end:#x}");
        return Err(refusal(path, text));
    }
    for taken in [START_INFO..MEMORY_MAP_END, COMMAND_LINE..COMMAND_LINE + COMMAND_LINE_BYTES as u64] {
        if plan.touches(&taken) {
            let text = format!("it lies at {:#x}..{:#x}, where the boot parameters go", taken.start, taken.end);
            return Err(refusal(path, text));
        }
    }
    let initrd = initrd.map(|(path, bytes)| place_initrd(vm, path, bytes, &mut plan)).transpose()?;
    plan_start_info(vm, cmdline, initrd, &mut plan)?;
    enter(vm, entry)?;
    plan.carry_out(vm)
}

/// Plans the initrd, as high as it fits: its address and length.
fn place_initrd<'a>(vm: &Vm, path: &Path, bytes: Vec<u8>, plan: &mut Plan<'a>) -> Result<(u64, u64)> {
    let length = bytes.len() as u64;
    let memory = vm.memory();
    let top = memory.iter().find(|region| region.start_addr().0 == 0).map_or(0, |low| low.len().min(INITRD_BELOW));
    let page_size = vm.capabilities().page_size;
    let start = top.checked_sub(length).map(|start| start / page_size * page_size);
    let Some(start) = start.filter(|&start| start >= plan.end().max(LOW_END)) else {
        return Err(refusal(path, format!("{length} bytes do not fit between the kernel and {top:#x}")));
    };
    plan.write(start, bytes);
    Ok((start, length))
}

fn plan_start_info(vm: &Vm, cmdline: &str, initrd: Option<(u64, u64)>, plan: &mut Plan) -> Result<()> {
    let memory = vm.memory();
    let entry = |region: &vm_memory::GuestRegionMmap| hvm_memmap_table_entry {
        addr: region.start_addr().0,
        size: region.len(),
        type_: MEMORY_MAP_RAM,
        reserved: 0,
    };
    let map: Vec<u8> = memory.iter().flat_map(|region| entry(region).as_slice().to_vec()).collect();
    if MEMORY_MAP + map.len() as u64 > MEMORY_MAP_END {
        let blocks = memory.num_regions();
        return Err(Error::Argument(format!("{blocks} RAM blocks are more than a memory map takes at boot")));
    }
    let start_info = hvm_start_info {
        magic: START_MAGIC,
        version: START_INFO_VERSION,
        nr_modules: initrd.is_some().into(),
        modlist_paddr: initrd.map_or(0, |_| MODULES),
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: memory.num_regions() as u32,
        ..Default::default()
    };
    plan.write(START_INFO, start_info.as_slice().to_vec());
    plan.write(MEMORY_MAP, map);
    plan.write(COMMAND_LINE, [cmdline.as_bytes(), &[0]].concat());
    if let Some((paddr, size)) = initrd {
        let module = hvm_modlist_entry { paddr, size, ..Default::default() };
        plan.write(MODULES, module.as_slice().to_vec());
    }
    Ok(())
}

/// Puts the first vCPU where PVH wants it: 32-bit protected mode, flat segments, no paging, `ebx` at the start info. The
/// others wait for their INIT.
fn enter(vm: &Vm, entry: u64) -> Result<()> {
    vm.vcpus()?.set_up(|vcpus| {
        let Some(first) = vcpus.first() else { return Ok(()) };
        set_registers(first, entry)
    })
}

fn set_registers(vcpu: &VcpuFd, entry: u64) -> Result<()> {
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
    sregs.cs = segment(0xb, 0x8);
    let data = segment(0x3, 0x10);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    // A busy 32-bit TSS, which Intel's entry checks want.
    sregs.tr = kvm_segment { limit: 0x67, selector: 0x18, type_: 0xb, present: 1, ..Default::default() };
    sregs.cr0 = CR0_PE_ET;
    sregs.cr4 = 0;
    sregs.efer = 0;
    vcpu.set_sregs(&sregs).map_err(|errno| Error::ioctl("KVM_SET_SREGS", "vCPU 0", errno))?;
    let regs = kvm_regs { rip: entry, rbx: START_INFO, rflags: RFLAGS_RESERVED, ..Default::default() };
    vcpu.set_regs(&regs).map_err(|errno| Error::ioctl("KVM_SET_REGS", "vCPU 0", errno))
}
