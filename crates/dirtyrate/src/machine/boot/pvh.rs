//! PVH: an ELF whose note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry, and `hvm_start_info` in memory (Xen,
//! docs/misc/pvh.pandoc).

use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::{ByteValued, GuestMemoryBackend, GuestMemoryRegion};

use super::acpi;
use super::plan::Plan;
use super::x86_64::{COMMAND_LINE, PARAMETERS, Start};
use crate::error::{Error, Result};
use crate::kvm::Vm;

/// `hvm_start_info`, the modules that it points to, and the memory map.
const START_INFO: u64 = PARAMETERS.start;
const MODULES: u64 = START_INFO + 0x800;
const MEMORY_MAP: u64 = START_INFO + 0x1000;
/// `XEN_HVM_START_MAGIC_VALUE`.
const START_MAGIC: u32 = 0x336e_c578;
/// Version 1 has the memory map.
const START_INFO_VERSION: u32 = 1;
/// `XEN_HVM_MEMMAP_TYPE_RAM`.
const MEMORY_MAP_RAM: u32 = 1;

/// Plans what the kernel is told; how it is entered at `entry`.
pub(super) fn plan_start_info(vm: &Vm, entry: u64, initrd: Option<(u64, u64)>, plan: &mut Plan) -> Result<Start> {
    let memory = vm.memory();
    let entry_of = |region: &vm_memory::GuestRegionMmap| hvm_memmap_table_entry {
        addr: region.start_addr().0,
        size: region.len(),
        type_: MEMORY_MAP_RAM,
        reserved: 0,
    };
    let map: Vec<u8> = memory.iter().flat_map(|region| entry_of(region).as_slice().to_vec()).collect();
    if MEMORY_MAP + map.len() as u64 > PARAMETERS.end {
        let blocks = memory.num_regions();
        return Err(Error::Argument(format!("{blocks} RAM blocks are more than a memory map takes at boot")));
    }
    let start_info = hvm_start_info {
        magic: START_MAGIC,
        version: START_INFO_VERSION,
        nr_modules: initrd.is_some().into(),
        modlist_paddr: initrd.map_or(0, |_| MODULES),
        cmdline_paddr: COMMAND_LINE,
        rsdp_paddr: acpi::TABLES,
        memmap_paddr: MEMORY_MAP,
        memmap_entries: memory.num_regions() as u32,
        ..Default::default()
    };
    plan.write(START_INFO, start_info.as_slice().to_vec());
    plan.write(MEMORY_MAP, map);
    if let Some((paddr, size)) = initrd {
        let module = hvm_modlist_entry { paddr, size, ..Default::default() };
        plan.write(MODULES, module.as_slice().to_vec());
    }
    Ok(Start { rip: entry, rbx: START_INFO, ..Default::default() })
}
