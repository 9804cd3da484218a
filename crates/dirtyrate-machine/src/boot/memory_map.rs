//! The map of guest memory that a kernel on x86-64 gets. PVH's memory map and Linux's E820 have the same numbers for
//! its types.

use std::ops::Range;

use super::ram::Ram;

/// `XEN_HVM_MEMMAP_TYPE_RAM` and `E820_TYPE_RAM`: memory that the kernel may use freely.
const RAM: u32 = 1;
/// Both protocols' reserved memory.
const RESERVED: u32 = 2;
/// Both protocols' ACPI tables.
const ACPI: u32 = 3;
/// The unit of a map, because a kernel ignores parts of pages.
const PAGE: u64 = 4096;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub address: u64,
    pub bytes: u64,
    pub kind: u32,
}

/// What the loader has put into guest memory for a kernel. The kernel must not use it as free memory.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given {
    /// Boot parameters, the command line, modules.
    Parameters,
    /// ACPI tables.
    Acpi,
}

/// The entries of RAM without `holes`, and of the parts of RAM that were `given` to the kernel. They are in ascending
/// order, and do not overlap.
pub(super) fn entries(ram: &Ram, holes: &[Range<u64>], given: &[(Range<u64>, Given)]) -> Vec<Entry> {
    let whole = |range: &Range<u64>| range.start / PAGE * PAGE..range.end.next_multiple_of(PAGE);
    let mut entries = Vec::new();
    for &(start, bytes) in ram.blocks() {
        let block = start..start + bytes;
        let mut free = vec![block.clone()];
        for (range, given) in given {
            let range = cut(&block, &whole(range));
            if !range.is_empty() {
                let kind = match given {
                    Given::Parameters => RESERVED,
                    Given::Acpi => ACPI,
                };
                entries.push(Entry { address: range.start, bytes: range.end - range.start, kind });
            }
        }
        for taken in given.iter().map(|(range, _)| whole(range)).chain(holes.iter().cloned()) {
            free = free.into_iter().flat_map(|free| without(&free, &taken)).collect();
        }
        let free = free.into_iter().filter(|range| !range.is_empty());
        entries.extend(free.map(|free| Entry { address: free.start, bytes: free.end - free.start, kind: RAM }));
    }
    entries.sort_by_key(|entry| entry.address);
    entries
}

/// The part of `range` that lies in `of`.
fn cut(of: &Range<u64>, range: &Range<u64>) -> Range<u64> {
    let start = range.start.clamp(of.start, of.end);
    start..range.end.clamp(start, of.end)
}

/// The parts of `range` that do not lie in `taken`.
fn without(range: &Range<u64>, taken: &Range<u64>) -> [Range<u64>; 2] {
    if taken.is_empty() {
        return [range.clone(), range.end..range.end];
    }
    [range.start..taken.start.clamp(range.start, range.end), taken.end.clamp(range.start, range.end)..range.end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_reserved_in_whole_pages_and_the_rest_is_ram() {
        let ram = Ram::new(vec![(0, 0x10_0000), (0x20_0000, 0x1000)], 4096, 1);
        let given = [
            (0x6000..0x8000, Given::Parameters),
            (0x2_0000..0x2_0801, Given::Parameters),
            (0xe_0000..0xe_0123, Given::Acpi),
        ];
        let entries = entries(&ram, std::slice::from_ref(&(0xa_0000..0x10_0000)), &given);
        let entries: Vec<_> = entries.iter().map(|entry| (entry.address, entry.bytes, entry.kind)).collect();
        assert_eq!(
            entries,
            [
                (0, 0x6000, 1),
                (0x6000, 0x2000, 2),
                (0x8000, 0x1_8000, 1),
                (0x2_0000, 0x1000, 2),
                (0x2_1000, 0x7_f000, 1),
                (0xe_0000, 0x1000, 3),
                (0x20_0000, 0x1000, 1),
            ]
        );
    }

    #[test]
    fn what_was_given_outside_of_ram_is_not_told() {
        let ram = Ram::new(vec![(0x10_0000, 0x10_0000)], 4096, 1);
        let entries =
            entries(&ram, &[], &[(0x6000..0x8000, Given::Parameters), (0x1f_f000..0x1f_f001, Given::Parameters)]);
        let expected = [(0x10_0000, 0xf_f000, 1), (0x1f_f000, 0x1000, 2)];
        assert!(entries.iter().map(|entry| (entry.address, entry.bytes, entry.kind)).eq(expected));
    }
}
