//! arm64's boot protocol (Linux, Documentation/arch/arm64/booting.rst): an `Image`, or an ELF, entered in EL1 with the MMU off
//! and the device tree's address in x0.
//!
//! ```text
//! RAM + 64 KiB  device tree: at address 0 Linux takes it for none
//! RAM + 1 MiB   a guest of `workload`, which brings its address along
//! RAM + 2 MiB   an Image, with its own offset; then the initrd
//! ```

use std::ops::Range;
use std::path::Path;

use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::kernel::{self, refusal};
use super::plan::Plan;
use super::{check_room, device_tree};
use crate::error::{Error, Result};
use crate::kvm::Vm;
use crate::kvm::arch::set_entry;

/// Where the device tree is, from the start of RAM; up to where guests lie.
const DEVICE_TREE: Range<u64> = 64 << 10..1 << 20;
/// The most bytes in a command line, with its final zero (Linux: COMMAND_LINE_SIZE).
const COMMAND_LINE_BYTES: usize = 2048;
/// What an Image is aligned to, before its own offset.
const IMAGE_ALIGNMENT: u64 = 2 << 20;
/// `ARM\x64`.
const IMAGE_MAGIC: u64 = 0x644d_5241;
/// How the file of an EFI zboot kernel begins, at its fifth byte.
const ZBOOT_MAGIC: &[u8] = b"zimg";

/// Loads a kernel, an ELF or an Image.
pub(super) fn load(vm: &Vm, path: &Path, kernel: &[u8], cmdline: &str, initrd: Option<(&Path, Vec<u8>)>) -> Result<()> {
    if cmdline.len() >= COMMAND_LINE_BYTES || cmdline.contains('\0') {
        let text = format!("a command line has less than {COMMAND_LINE_BYTES} bytes and no NUL");
        return Err(Error::Argument(text));
    }
    let memory = vm.memory();
    let home = memory.iter().next().map(|region| (region.start_addr().0, region.len()));
    let Some((ram, bytes)) = home.filter(|&(_, bytes)| bytes >= DEVICE_TREE.end) else {
        return Err(refusal(path, "a machine boots from the first MiB of RAM: give its lowest block at least that"));
    };
    let mut plan = Plan::default();
    let entry = match Image::of(kernel, path)? {
        Some(image) => image.plan(ram, kernel, &mut plan),
        None => kernel::plan(kernel, path, &mut plan)?,
    };
    let tree_at = ram + DEVICE_TREE.start..ram + DEVICE_TREE.end;
    check_room(vm, path, &plan, std::slice::from_ref(&tree_at))?;
    let initrd = match initrd {
        Some((path, bytes_of_it)) => {
            let length = bytes_of_it.len() as u64;
            let start = plan.end().max(tree_at.end).next_multiple_of(IMAGE_ALIGNMENT);
            if start + length > ram + bytes {
                let text = format!("{length} bytes do not fit between the kernel and {:#x}", ram + bytes);
                return Err(refusal(path, text));
            }
            plan.write(start, bytes_of_it);
            Some((start, length))
        }
        None => None,
    };
    let vcpus = vm.vcpus()?;
    let tree = device_tree::blob(&memory, vcpus.count() as u64, cmdline, initrd)
        .map_err(|error| Error::Argument(format!("no device tree for this machine: {error}")))?;
    if tree.len() as u64 > tree_at.end - tree_at.start {
        let blocks = memory.num_regions();
        return Err(Error::Argument(format!("{blocks} RAM blocks are more than a device tree takes at boot")));
    }
    plan.write(tree_at.start, tree);
    vcpus.set_up(|vcpus| vcpus.first().map_or(Ok(()), |first| set_entry(first, entry, tree_at.start)))?;
    plan.carry_out(vm)
}

/// The header of an Image.
struct Image {
    text_offset: u64,
    bytes: u64,
}

impl Image {
    /// `None` for what is no Image.
    fn of(file: &[u8], path: &Path) -> Result<Option<Self>> {
        if file.starts_with(b"MZ") && file.get(4..8) == Some(ZBOOT_MAGIC) {
            return Err(refusal(path, "a compressed kernel (EFI zboot): unpack it to an Image first"));
        }
        let word =
            |at: usize| file.get(at..at + 8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        if word(56).is_none_or(|word| word & 0xffff_ffff != IMAGE_MAGIC) {
            return Ok(None);
        }
        let (text_offset, bytes) = (word(8).unwrap_or(0), word(16).unwrap_or(0));
        // Before Linux 3.17 there was no size, and the offset could be in either byte order.
        if bytes < file.len() as u64 || text_offset >= IMAGE_ALIGNMENT || bytes > 1 << 40 {
            return Err(refusal(path, "damaged, or older than Linux 3.17: its Image header contradicts the file"));
        }
        Ok(Some(Self { text_offset, bytes }))
    }

    /// Plans its loading; where it is entered.
    fn plan<'a>(&self, ram: u64, file: &'a [u8], plan: &mut Plan<'a>) -> u64 {
        let start = (ram + DEVICE_TREE.end).next_multiple_of(IMAGE_ALIGNMENT) + self.text_offset;
        plan.write(start, file);
        plan.keep_free(start + file.len() as u64, self.bytes - file.len() as u64);
        start
    }
}
