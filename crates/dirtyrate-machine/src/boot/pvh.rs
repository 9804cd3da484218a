//! The boot protocol PVH: the note XEN_ELFNOTE_PHYS32_ENTRY of an ELF names a 32-bit entry, and the kernel finds
//! `hvm_start_info` in memory (Xen, docs/misc/pvh.pandoc).

use std::ops::Range;

use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use vm_memory::ByteValued;

use super::acpi;
use super::memory_map::{self, Given};
use super::plan::Plan;
use super::ram::Ram;
use super::start::{COMMAND_LINE, PARAMETERS, Start};
use dirtyrate::{Error, Result};

/// The addresses of `hvm_start_info`, of the modules that it points to, and of the memory map.
const START_INFO: u64 = PARAMETERS.start;
const MODULES: u64 = START_INFO + 0x800;
const MEMORY_MAP: u64 = START_INFO + 0x1000;
/// `XEN_HVM_START_MAGIC_VALUE`.
const START_MAGIC: u32 = 0x336e_c578;
/// Version 1 has the memory map.
const START_INFO_VERSION: u32 = 1;

/// Plans `hvm_start_info` and what belongs to it. Returns how the kernel is entered at `entry`. The memory map also
/// reserves the initrd, because a kernel that does not know what the module is must not overwrite it.
pub(super) fn plan_start_info(
    ram: &Ram,
    given: &[(Range<u64>, Given)],
    entry: u64,
    initrd: Option<(u64, u64)>,
    plan: &mut Plan,
) -> Result<Start> {
    let module = initrd.map(|(start, length)| (start..start + length, Given::Parameters));
    let entries = memory_map::entries(ram, &[], &[given, module.as_slice()].concat());
    let map: Vec<u8> = entries
        .iter()
        .map(|entry| hvm_memmap_table_entry { addr: entry.address, size: entry.bytes, type_: entry.kind, reserved: 0 })
        .flat_map(|entry| entry.as_slice().to_vec())
        .collect();
    if MEMORY_MAP + map.len() as u64 > PARAMETERS.end {
        let blocks = ram.blocks().len();
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
        memmap_entries: entries.len() as u32,
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
