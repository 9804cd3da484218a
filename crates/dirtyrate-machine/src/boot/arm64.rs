//! arm64's boot protocol (Linux, Documentation/arch/arm64/booting.rst): an `Image`, or an ELF, entered in EL1 with the
//! MMU off and the device tree's address in x0.
//!
//! ```text
//! RAM + 64 KiB  device tree: at address 0 Linux takes it for none
//! RAM + 1 MiB   a guest of `workload`, which brings its address along
//! RAM + 2 MiB   an Image, with its own offset; then the initrd
//! ```

use std::ops::Range;

use super::file::BootFile;
use super::format::{self, IMAGE_MAGIC};
use super::plan::Plan;
use super::ram::Ram;
use super::{device_tree, elf};
use dirtyrate::{Error, Result};

/// The place of the device tree, counted from the start of RAM. It ends where the guests of `workload` begin.
const DEVICE_TREE: Range<u64> = 64 << 10..1 << 20;
/// The most bytes in a command line, with its final zero (Linux: COMMAND_LINE_SIZE).
pub(super) const COMMAND_LINE_BYTES: usize = 2048;
/// The alignment of an Image, to which its own offset is added.
const IMAGE_ALIGNMENT: u64 = 2 << 20;
/// The largest size that an Image may state, which is more than any machine has.
const MOST_IMAGE_BYTES: u64 = 1 << 40;

/// How a kernel is entered.
pub(super) struct Start {
    pub entry: u64,
    pub device_tree: u64,
}

/// Plans the loading of a kernel, which is an ELF or an Image. Returns how the kernel is entered.
pub(super) fn plan<'a>(
    ram: &Ram,
    kernel: &'a BootFile<'a>,
    cmdline: &str,
    initrd: Option<&'a BootFile<'a>>,
) -> Result<(Plan<'a>, Start)> {
    let home = ram.blocks().first().copied();
    let Some((start, bytes)) = home.filter(|&(_, bytes)| bytes >= DEVICE_TREE.end) else {
        let text = "a machine boots from the first MiB of RAM: give its lowest block at least that";
        return Err(kernel.refusal(text));
    };
    let mut plan = Plan::default();
    let entry = match Image::of(kernel)? {
        Some(image) => image.plan(start, kernel, &mut plan),
        None if kernel.head().starts_with(elf::MAGIC) => elf::plan(kernel, &mut plan)?,
        None => return Err(kernel.refusal(format::name(kernel.head()))),
    };
    let tree_at = start + DEVICE_TREE.start..start + DEVICE_TREE.end;
    plan.check_room(ram, kernel, std::slice::from_ref(&tree_at))?;
    let initrd =
        initrd.map(|initrd| place_initrd(initrd, plan.end().max(tree_at.end), start + bytes, &mut plan)).transpose()?;
    let tree = device_tree::blob(ram, tree_at.start, cmdline, initrd)
        .map_err(|error| Error::Argument(format!("no device tree for this machine: {error}")))?;
    if tree.len() as u64 > tree_at.end - tree_at.start {
        let blocks = ram.blocks().len();
        return Err(Error::Argument(format!("{blocks} RAM blocks are more than a device tree takes at boot")));
    }
    plan.write(tree_at.start, tree);
    Ok((plan, Start { entry, device_tree: tree_at.start }))
}

/// Plans the initrd behind everything else that is loaded. Returns its address and length.
fn place_initrd<'a>(initrd: &'a BootFile<'a>, from: u64, end: u64, plan: &mut Plan<'a>) -> Result<(u64, u64)> {
    let length = initrd.length();
    let start = from.checked_next_multiple_of(IMAGE_ALIGNMENT);
    let Some(start) = start.filter(|start| start.checked_add(length).is_some_and(|last| last <= end)) else {
        return Err(initrd.refusal(format!("{length} bytes do not fit between the kernel and {end:#x}")));
    };
    plan.write_file(start, initrd, 0, length);
    Ok((start, length))
}

/// Puts the first vCPU at the kernel's entry.
#[cfg(target_arch = "aarch64")]
pub(super) fn enter(vm: &crate::vm::Vm, start: &Start) -> Result<()> {
    let &Start { entry, device_tree } = start;
    vm.vcpus()?.set_up(|vcpus| match vcpus.first() {
        Some(first) => crate::arch::set_entry(first, entry, device_tree),
        None => Ok(()),
    })
}

/// The header of an Image.
struct Image {
    text_offset: u64,
    bytes: u64,
}

impl Image {
    /// Reads the header of an Image; `None` if the file is no Image.
    fn of(file: &BootFile) -> Result<Option<Self>> {
        let head = file.head();
        if !head.get(IMAGE_MAGIC.0..).is_some_and(|rest| rest.starts_with(IMAGE_MAGIC.1)) {
            return Ok(None);
        }
        let word =
            |at: usize| head.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word));
        let (text_offset, bytes) = (word(8), word(16));
        // Before Linux 3.17 there was no size, and the offset could be in either byte order.
        if bytes < file.length() || text_offset >= IMAGE_ALIGNMENT || bytes > MOST_IMAGE_BYTES {
            return Err(file.refusal("damaged, or older than Linux 3.17: its Image header contradicts the file"));
        }
        Ok(Some(Self { text_offset, bytes }))
    }

    /// Plans the loading of the Image. Returns the address at which it is entered.
    fn plan<'a>(&self, ram: u64, file: &'a BootFile<'a>, plan: &mut Plan<'a>) -> u64 {
        let start = (ram + DEVICE_TREE.end).next_multiple_of(IMAGE_ALIGNMENT) + self.text_offset;
        plan.write_file(start, file, 0, file.length());
        plan.keep_free(start + file.length(), self.bytes - file.length());
        start
    }
}
