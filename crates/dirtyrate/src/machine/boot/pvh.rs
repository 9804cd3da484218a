//! Direct boot by PVH: an ELF whose note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry, and `hvm_start_info` in memory
//! (Xen, docs/misc/pvh.pandoc).

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::path::Path;

use kvm_bindings::{kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::elf::{Elf, Error as ElfError, PvhBootCapability};
use linux_loader::loader::{Error as LoaderError, KernelLoader, KernelLoaderResult};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, ReadVolatile};

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
/// Where an initrd is put: below this, as high as it fits, so that it is out of the kernel's way.
const INITRD_BELOW: u64 = HOLE_START;

/// Loads a kernel file, and an initrd where there is one.
pub fn load_file(vm: &Vm, options: &KernelOptions) -> Result<()> {
    let path = &options.kernel;
    let refuse = |problem: String| Error::KernelImage { path: path.clone(), problem };
    let mut file = open(path)?;
    if file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        return Err(refuse("the file is empty".to_owned()));
    }
    let kernel = load_elf(vm, &mut file, path)?;
    if options.cmdline.len() >= COMMAND_LINE_BYTES || options.cmdline.contains('\0') {
        let text = format!("a command line has less than {COMMAND_LINE_BYTES} bytes and no NUL");
        return Err(Error::Argument(text));
    }
    let initrd = options.initrd.as_deref().map(|path| load_initrd(vm, path, kernel.end)).transpose()?;
    write_start_info(vm, path, &options.cmdline, initrd)?;
    enter(vm, kernel.entry)
}

/// Loads a kernel that is in memory; `name` is what errors call it.
pub fn load_bytes(vm: &Vm, elf: &[u8], name: &Path) -> Result<()> {
    let kernel = load_elf(vm, &mut Cursor::new(elf), name)?;
    write_start_info(vm, name, "", None)?;
    enter(vm, kernel.entry)
}

struct Loaded {
    entry: u64,
    end: u64,
}

fn open(path: &Path) -> Result<File> {
    let refuse = |problem: String| Error::KernelImage { path: path.to_owned(), problem };
    let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(refuse("not a regular file".to_owned())),
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn load_elf<F: Read + ReadVolatile + Seek>(vm: &Vm, file: &mut F, path: &Path) -> Result<Loaded> {
    let refuse = |problem: String| Error::KernelImage { path: path.to_owned(), problem };
    let memory = vm.memory();
    let loaded: KernelLoaderResult = Elf::load(&*memory, None, file, None).map_err(|error| {
        refuse(match error {
            LoaderError::Elf(ElfError::InvalidElfMagicNumber) => "not an ELF file".to_owned(),
            LoaderError::Elf(ElfError::ReadElfHeader) => "truncated: shorter than an ELF header".to_owned(),
            LoaderError::Elf(ElfError::ReadProgramHeader) => "truncated: its program headers are cut off".to_owned(),
            LoaderError::Elf(ElfError::ReadKernelImage) => {
                format!("a segment is cut off, or lies outside RAM, which ends at {:#x}", vm.memory_end())
            }
            other => other.to_string(),
        })
    })?;
    let end = loaded.kernel_end;
    if end == 0 {
        return Err(refuse("it has nothing to load".to_owned()));
    }
    if !memory.address_in_range(GuestAddress(end - 1)) {
        return Err(refuse(format!("larger than memory: it ends at {end:#x}, RAM at {:#x}", vm.memory_end())));
    }
    match loaded.pvh_boot_cap {
        PvhBootCapability::PvhEntryPresent(entry) => Ok(Loaded { entry: entry.0, end }),
        _ => Err(refuse("no PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY): build Linux with CONFIG_PVH=y".to_owned())),
    }
}

fn load_initrd(vm: &Vm, path: &Path, kernel_end: u64) -> Result<(u64, u64)> {
    let refuse = |problem: String| Error::KernelImage { path: path.to_owned(), problem };
    let mut file = open(path)?;
    let length = file.metadata().map_err(|error| refuse(error.to_string()))?.len();
    if length == 0 {
        return Err(refuse("the file is empty".to_owned()));
    }
    let memory = vm.memory();
    let low = memory.iter().find(|region| region.start_addr().0 == 0);
    let top = low.map_or(0, |region| region.len().min(INITRD_BELOW));
    let page_size = vm.capabilities().page_size;
    let start = top.checked_sub(length).map(|start| start / page_size * page_size).filter(|&start| start >= kernel_end);
    let start = start.ok_or_else(|| refuse(format!("{length} bytes do not fit between the kernel and {top:#x}")))?;
    memory
        .read_exact_volatile_from(GuestAddress(start), &mut file, length as usize)
        .map_err(|error| refuse(error.to_string()))?;
    Ok((start, length))
}

fn write_start_info(vm: &Vm, path: &Path, cmdline: &str, initrd: Option<(u64, u64)>) -> Result<()> {
    let memory = vm.memory();
    let refuse = |problem: String| Error::KernelImage { path: path.to_owned(), problem };
    let map = memory_map(&memory);
    if MEMORY_MAP + std::mem::size_of_val(map.as_slice()) as u64 > MEMORY_MAP_END {
        return Err(Error::Argument(format!("{} RAM blocks are more than a memory map takes at boot", map.len())));
    }
    let mut line = cmdline.as_bytes().to_vec();
    line.push(0);
    memory.write_slice(&line, GuestAddress(COMMAND_LINE)).map_err(|_| refuse(no_low_ram()))?;
    let start_info = hvm_start_info {
        magic: START_MAGIC,
        version: START_INFO_VERSION,
        nr_modules: initrd.is_some().into(),
        modlist_paddr: initrd.map_or(0, |_| MODULES),
        cmdline_paddr: COMMAND_LINE,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: map.len() as u32,
        ..Default::default()
    };
    let mut params = BootParams::new(&start_info, GuestAddress(START_INFO));
    params.set_sections(&map, GuestAddress(MEMORY_MAP));
    if let Some((paddr, size)) = initrd {
        params.set_modules(&[hvm_modlist_entry { paddr, size, ..Default::default() }], GuestAddress(MODULES));
    }
    PvhBootConfigurator::write_bootparams(&params, &*memory).map_err(|_| refuse(no_low_ram()))
}

fn no_low_ram() -> String {
    "a machine boots from RAM at address 0: give it a block there".to_owned()
}

fn memory_map(memory: &GuestMemoryMmap) -> Vec<hvm_memmap_table_entry> {
    let entry = |region: &vm_memory::GuestRegionMmap| hvm_memmap_table_entry {
        addr: region.start_addr().0,
        size: region.len(),
        type_: MEMORY_MAP_RAM,
        reserved: 0,
    };
    memory.iter().map(entry).collect()
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
