//! RAM blocks as a caller asks for them: their checks, and the reservation of their memory.

use dirtyrate::{Error, Result};
use vm_memory::{GuestAddress, GuestRegionMmap, MmapRegion};

/// The most pages in one block: KVM_MEM_MAX_NR_PAGES is just under 2^31 pages.
const MAX_PAGES_PER_SLOT: u64 = (1 << 31) - 1;

/// A RAM block as a caller asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSpec {
    /// The block's name, unique among the VM's blocks.
    pub name: String,
    /// The guest physical address of its first byte; a multiple of the page size.
    pub guest_address: u64,
    /// Its size; a multiple of the page size.
    pub bytes: u64,
}

/// Checks the shape of one block, and that it overlaps none of `others`.
pub fn check_layout<'a>(
    spec: &BlockSpec,
    others: impl IntoIterator<Item = &'a BlockSpec>,
    page_size: u64,
    address_end: u64,
) -> Result<()> {
    let refuse = |problem: String| Err(Error::Layout { block: spec.name.clone(), problem });
    if spec.name.is_empty() {
        return refuse("a block needs a name".to_owned());
    }
    if spec.bytes == 0 {
        return refuse("a block of 0 bytes: give it at least one page".to_owned());
    }
    if !spec.bytes.is_multiple_of(page_size) {
        return refuse(format!("{} bytes is not a multiple of the page size, {page_size}", spec.bytes));
    }
    if !spec.guest_address.is_multiple_of(page_size) {
        return refuse(format!("address {:#x} is not a multiple of the page size, {page_size}", spec.guest_address));
    }
    let Some(end) = spec.guest_address.checked_add(spec.bytes).filter(|&end| end <= address_end) else {
        return refuse(format!(
            "{:#x} + {} bytes ends above the guest physical address space of this machine ({address_end:#x})",
            spec.guest_address, spec.bytes
        ));
    };
    if spec.bytes / page_size > MAX_PAGES_PER_SLOT {
        return refuse(format!(
            "more than the {MAX_PAGES_PER_SLOT} pages that one block can have: divide it into several blocks"
        ));
    }
    for other in others {
        if other.name == spec.name {
            return refuse("two blocks of this name".to_owned());
        }
        let other_end = other.guest_address.saturating_add(other.bytes);
        if spec.guest_address < other_end && other.guest_address < end {
            return refuse(format!(
                "{:#x}..{end:#x} overlaps block '{}' at {:#x}..{other_end:#x}",
                spec.guest_address, other.name, other.guest_address,
            ));
        }
    }
    Ok(())
}

/// Reserves a block's memory. No page of it exists until it is touched.
pub(super) fn reserve(spec: &BlockSpec) -> Result<GuestRegionMmap> {
    let refuse = |source| Error::Memory { block: spec.name.clone(), bytes: spec.bytes, source };
    let bytes = usize::try_from(spec.bytes).map_err(|_| refuse(std::io::Error::from_raw_os_error(libc::ENOMEM)))?;
    // The mapping is anonymous, private and MAP_NORESERVE, so untouched pages take neither memory nor commit charge.
    let mapping = MmapRegion::new(bytes).map_err(|error| {
        refuse(match error {
            vm_memory::mmap::MmapRegionError::Mmap(source) => source,
            other => std::io::Error::other(other.to_string()),
        })
    })?;
    keep_to_this_process(&mapping)?;
    GuestRegionMmap::new(mapping, GuestAddress(spec.guest_address)).ok_or_else(|| Error::Layout {
        block: spec.name.clone(),
        problem: format!("{:#x} + {} bytes wraps around", spec.guest_address, spec.bytes),
    })
}

/// Excludes guest memory from forks and core files. A fork would copy the page tables of all touched pages, and then
/// the guest would fault at each page that it writes.
fn keep_to_this_process(mapping: &MmapRegion) -> Result<()> {
    for (advice, name) in [(libc::MADV_DONTFORK, "MADV_DONTFORK"), (libc::MADV_DONTDUMP, "MADV_DONTDUMP")] {
        // SAFETY: the range is the one that was just mapped, and neither advice changes what this process finds there.
        if unsafe { libc::madvise(mapping.as_ptr().cast(), mapping.size(), advice) } != 0 {
            return Err(Error::last_ioctl("madvise", || name.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    fn spec(name: &str, guest_address: u64, bytes: u64) -> BlockSpec {
        BlockSpec { name: name.to_owned(), guest_address, bytes }
    }

    #[test]
    fn bad_layouts_are_refused_by_name() {
        let ram = spec("ram", 0, 16 * PAGE);
        let cases = [
            (spec("a", 16 * PAGE, 0), "0 bytes"),
            (spec("a", 16 * PAGE, 100), "multiple of the page size"),
            (spec("a", 100, PAGE), "multiple of the page size"),
            (spec("a", u64::MAX - PAGE + 1, PAGE), "ends above"),
            (spec("a", 1 << 52, PAGE), "ends above"),
            (spec("a", 1 << 40, (1 << 31) * PAGE), "divide it"),
            (spec("a", 15 * PAGE, PAGE), "overlaps block 'ram'"),
            (spec("a", 0, 32 * PAGE), "overlaps block 'ram'"),
            (spec("ram", 16 * PAGE, PAGE), "two blocks"),
            (spec("", 16 * PAGE, PAGE), "needs a name"),
        ];
        for (bad, expected) in cases {
            let text = check_layout(&bad, [&ram], PAGE, 1 << 52).expect_err(expected).to_string();
            assert!(text.contains(expected) && text.contains(&format!("'{}'", bad.name)), "{text}");
        }
        check_layout(&spec("a", 16 * PAGE, 3 * PAGE), [&ram], PAGE, 1 << 52).expect("neighbours do not overlap");
    }
}
