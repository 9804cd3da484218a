//! The guest's page tables: an identity map in 2 MiB pages, only of the GiBs that the guest touches.
//!
//! They have four levels of 512 entries each, on x86-64 as well as with arm64's granule of 4 KiB; only the bits of an
//! entry differ. Accessed and dirty bits are set from the start, so that the CPU (or KVM, if it emulates one) never has
//! a reason to write to a table. So the tables' own pages stay clean after boot. Pages of 1 GiB would need fewer
//! tables, but some hosts do not support them.

use std::collections::BTreeSet;

use super::arch::{LEAF, LINK};
use super::contract::{GIB, PAGE_SIZE};
use super::layout::Segment;

/// What one page-directory-pointer table covers, in GiB.
const GIBS_PER_POINTER_TABLE: u64 = 512;

/// An entry that the guest stores before it turns paging on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub address: u64,
    pub value: u64,
}

/// The GiBs that a set of segments touches.
pub(super) fn gibs(segments: &[Segment]) -> BTreeSet<u64> {
    segments.iter().flat_map(|segment| segment.guest_address / GIB..=(segment.end() - 1) / GIB).collect()
}

/// Which tables there are. They lie one after the other: the root, the pointer tables, the
/// directories.
#[derive(Clone, Debug)]
pub(super) struct PageTables {
    gibs: BTreeSet<u64>,
    pointer_tables: BTreeSet<u64>,
}

impl PageTables {
    pub fn new(gibs: BTreeSet<u64>) -> Self {
        let pointer_tables = gibs.iter().map(|gib| gib / GIBS_PER_POINTER_TABLE).collect();
        PageTables { gibs, pointer_tables }
    }

    pub fn bytes(&self) -> u64 {
        (1 + self.pointer_tables.len() as u64 + self.directories()) * PAGE_SIZE
    }

    pub fn links(&self) -> usize {
        self.pointer_tables.len() + self.gibs.len()
    }

    pub fn directories(&self) -> u64 {
        self.gibs.len() as u64
    }

    pub fn first_directory(&self, root: u64) -> u64 {
        root + (1 + self.pointer_tables.len() as u64) * PAGE_SIZE
    }

    /// The entries that connect the tables when the root is at `root`.
    pub fn link(&self, root: u64) -> Vec<Link> {
        let mut links = Vec::with_capacity(self.links());
        for (table, region) in (1..).zip(&self.pointer_tables) {
            links.push(Link { address: root + region * 8, value: (root + table * PAGE_SIZE) | LINK });
        }
        for (directory, gib) in (0..).zip(&self.gibs) {
            let table = self.pointer_tables.range(..gib / GIBS_PER_POINTER_TABLE).count() as u64;
            links.push(Link {
                address: root + (1 + table) * PAGE_SIZE + gib % GIBS_PER_POINTER_TABLE * 8,
                value: (self.first_directory(root) + directory * PAGE_SIZE) | LINK,
            });
        }
        links
    }

    /// The first entry of each directory; the next ones are 2 MiB further each.
    pub fn first_entries(&self) -> impl Iterator<Item = u64> {
        self.gibs.iter().map(|gib| (gib * GIB) | LEAF)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the tables as a CPU would, over the entries that the guest stores.
    fn translate(tables: &PageTables, root: u64, address: u64) -> Option<u64> {
        let links = tables.link(root);
        let follow = |table: u64, index: u64| {
            let at = table + index * 8;
            let mut found = links.iter().filter(|link| link.address == at);
            let value = found.next()?.value;
            assert_eq!(found.next(), None, "one entry stored twice");
            assert_eq!(value & 0xfff, LINK);
            Some(value & !0xfff)
        };
        let directory = follow(follow(root, address >> 39)?, address >> 30 & 511)?;
        let number = (directory - tables.first_directory(root)) / PAGE_SIZE;
        let first = tables.first_entries().nth(number as usize)?;
        let entry = first + (address >> 21 & 511) * (2 << 20);
        assert_eq!(entry & 0xfff, LEAF);
        Some((entry & !0x1f_ffff) + address % (2 << 20))
    }

    #[test]
    fn what_is_touched_is_mapped_one_to_one_and_nothing_else() {
        let touched: BTreeSet<u64> = [0, 3, 4, 511, 512, 1025, 131_071].into();
        let tables = PageTables::new(touched.clone());
        let root = 0x20_3000;
        for gib in (0..1030).chain(131_070..131_072) {
            for offset in [0, 0x1000, 0x12_3456, GIB - 8] {
                let address = gib * GIB + offset;
                let expected = touched.contains(&gib).then_some(address);
                assert_eq!(translate(&tables, root, address), expected);
            }
        }
        // 4 regions of 512 GiB: 0, 1, 2 and 255.
        assert_eq!(tables.bytes(), (1 + 4 + 7) * PAGE_SIZE);
        assert!(tables.link(root).iter().all(|link| (root..root + tables.bytes()).contains(&link.address)));
    }

    #[test]
    fn a_segment_touches_its_first_and_its_last_gib() {
        let segment = |guest_address, pages| Segment { guest_address, pages, page_size: PAGE_SIZE };
        let touched = gibs(&[
            segment(GIB - PAGE_SIZE, 1),
            segment(5 * GIB - PAGE_SIZE, 2),
            segment(9 * GIB, 2 * GIB / PAGE_SIZE + 1),
        ]);
        assert_eq!(touched, [0, 4, 5, 9, 10, 11].into());
    }
}
