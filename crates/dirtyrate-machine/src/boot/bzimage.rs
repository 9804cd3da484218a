//! Linux's own image, the bzImage, which distributions install and which unpacks itself. It is entered at its 32-bit
//! entry (Documentation/arch/x86/boot.rst), which needs the same state of the CPU as PVH.
//!
//! The crate linux-loader can load it too, and its declarations of the structures are used here. But it writes part of
//! the kernel before it finds that the rest of the file is missing, and it checks neither the version nor how much room
//! the kernel needs.

use std::ops::Range;

use linux_loader::loader::bootparam::{
    E820_MAX_ENTRIES_ZEROPAGE, LOADED_HIGH, boot_e820_entry, boot_params, setup_header,
};
use vm_memory::ByteValued;

use super::acpi;
use super::file::BootFile;
use super::format::BZIMAGE_MAGIC;
use super::memory_map::{self, Given};
use super::plan::Plan;
use super::ram::Ram;
use super::start::{COMMAND_LINE, PARAMETERS, Start};
use dirtyrate::{Error, Result};

/// The offset of the header in the file, of the byte that says where the header ends, and of its magic number.
const HEADER: usize = 0x1f1;
const HEADER_LENGTH: usize = 0x201;
const MAGIC: usize = BZIMAGE_MAGIC.0;
/// Version 2.10 has `pref_address` and `init_size`: Linux 2.6.31.
const LEAST_VERSION: u16 = 0x020a;
const SECTOR: u64 = 512;
/// How many sectors come before the kernel if the header says 0.
const OLD_SETUP_SECTORS: u64 = 4;
/// The unit of `syssize`, in bytes.
const PARAGRAPH: u64 = 16;
/// The type of a boot loader that has no number of its own.
const OTHER_LOADER: u8 = 0xff;
/// A PC's low RAM ends at the first of these addresses, and RAM goes on at the second.
const LOW_RAM_END: u64 = 640 << 10;
const HIGH_RAM: u64 = 1 << 20;

/// The addresses of the segment descriptors with which the kernel starts, and of `boot_params`.
const DESCRIPTORS: u64 = PARAMETERS.start;
const ZERO_PAGE: u64 = PARAMETERS.start + 0x1000;
/// Flat segments for the selectors 0x10 (code) and 0x18 (data).
const DESCRIPTOR_TABLE: [u64; 4] = [0, 0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];

/// A planned bzImage.
pub(super) struct BzImage {
    header: setup_header,
}

impl BzImage {
    /// Plans the loading of a bzImage; `None` if `file` is something else.
    pub fn plan<'a>(file: &'a BootFile<'a>, plan: &mut Plan<'a>) -> Result<Option<Self>> {
        let head = file.head();
        if !head.get(MAGIC..).is_some_and(|rest| rest.starts_with(BZIMAGE_MAGIC.1)) {
            return Ok(None);
        }
        let length = (MAGIC + usize::from(head[HEADER_LENGTH]) - HEADER).min(size_of::<setup_header>());
        let Some(bytes) = head.get(HEADER..HEADER + length) else {
            return Err(file.refusal("truncated: its header is cut off"));
        };
        let mut header = setup_header::default();
        header.as_mut_slice()[..length].copy_from_slice(bytes);
        let version = header.version;
        if version < LEAST_VERSION || header.loadflags & LOADED_HIGH == 0 {
            let text = format!("its boot protocol, {version:#06x}, is older than {LEAST_VERSION:#06x} (Linux 2.6.31)");
            return Err(file.refusal(text));
        }
        let setup_sectors = if header.setup_sects == 0 { OLD_SETUP_SECTORS } else { header.setup_sects.into() };
        let start = (setup_sectors + 1) * SECTOR;
        let bytes = file.length().saturating_sub(start);
        let stated = u64::from(header.syssize) * PARAGRAPH;
        // The last paragraph need not be whole.
        if bytes + PARAGRAPH <= stated || bytes == 0 {
            return Err(file.refusal(format!("truncated: {bytes} bytes of a kernel of {stated}")));
        }
        let entry = u64::from(header.code32_start);
        let room = (entry.max(header.pref_address), u64::from(header.init_size));
        if room.0.checked_add(room.1).is_none() {
            return Err(file.refusal("damaged: where it wants to be wraps around"));
        }
        plan.write_file(entry, file, start, bytes);
        // The kernel unpacks itself to its preferred address, or to where it was loaded.
        plan.keep_free(room.0, room.1);
        Ok(Some(Self { header }))
    }

    /// The end of the addresses at which the kernel accepts an initrd.
    pub fn initrd_end(&self) -> u64 {
        u64::from(self.header.initrd_addr_max) + 1
    }

    /// How many bytes of a command line the kernel reads at most, with the final zero.
    pub fn command_line_bytes(&self) -> usize {
        self.header.cmdline_size as usize + 1
    }

    /// Plans the boot parameters of the kernel. Returns how the kernel is entered.
    pub fn plan_parameters(
        mut self,
        ram: &Ram,
        given: &[(Range<u64>, Given)],
        initrd: Option<(u64, u64)>,
        plan: &mut Plan,
    ) -> Result<Start> {
        let map = memory_map(ram, given);
        if map.len() > E820_MAX_ENTRIES_ZEROPAGE {
            let entries = map.len();
            return Err(Error::Argument(format!("{entries} ranges of RAM are more than a memory map takes at boot")));
        }
        let (image, size) = initrd.unwrap_or_default();
        self.header.type_of_loader = OTHER_LOADER;
        self.header.cmd_line_ptr = COMMAND_LINE as u32;
        // An initrd lies below `initrd_end`, which fits in a u32.
        (self.header.ramdisk_image, self.header.ramdisk_size) = (image as u32, size as u32);
        let mut parameters = boot_params {
            hdr: self.header,
            e820_entries: map.len() as u8,
            acpi_rsdp_addr: acpi::TABLES,
            ..Default::default()
        };
        parameters.e820_table[..map.len()].copy_from_slice(&map);
        plan.write(ZERO_PAGE, parameters.as_slice().to_vec());
        let table = DESCRIPTOR_TABLE.map(u64::to_le_bytes).concat();
        let descriptors = Some((DESCRIPTORS, table.len() as u16 - 1));
        plan.write(DESCRIPTORS, table);
        Ok(Start { rip: self.header.code32_start.into(), rsi: ZERO_PAGE, descriptors, ..Default::default() })
    }
}

/// The map of RAM as a PC's firmware reports it: without the addresses between 640 KiB and 1 MiB, except for what the
/// loader has put there. Linux ignores a map that has a single entry (`append_e820_table`), but this gap makes several
/// entries of the first block. An initrd counts as RAM, because the boot parameters say where it is, and Linux uses its
/// memory once it has unpacked it.
fn memory_map(ram: &Ram, given: &[(Range<u64>, Given)]) -> Vec<boot_e820_entry> {
    let entries = memory_map::entries(ram, std::slice::from_ref(&(LOW_RAM_END..HIGH_RAM)), given);
    entries.iter().map(|entry| boot_e820_entry { addr: entry.address, size: entry.bytes, r#type: entry.kind }).collect()
}
