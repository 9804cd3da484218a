//! What the plan of a load needs to know about the machine.

use crate::vm::Vm;
use dirtyrate::Result;

/// RAM, pages and vCPUs.
#[derive(Debug, Clone)]
pub(super) struct Ram {
    /// The address and the size of each block, in ascending order.
    blocks: Vec<(u64, u64)>,
    /// The blocks as ranges, with neighbours joined.
    ranges: Vec<(u64, u64)>,
    #[cfg_attr(target_arch = "aarch64", allow(dead_code, reason = "an initrd is aligned as an Image is there"))]
    pub page_size: u64,
    pub vcpus: u32,
}

impl Ram {
    pub fn of(vm: &Vm) -> Result<Self> {
        let page_size = vm.capabilities().page_size;
        let blocks = vm.blocks().iter().map(|block| (block.guest_address, block.pages * page_size)).collect();
        Ok(Self::new(blocks, page_size, vm.vcpus()?.count() as u32))
    }

    /// Makes the description. The blocks must not overlap, and none may wrap around.
    pub fn new(mut blocks: Vec<(u64, u64)>, page_size: u64, vcpus: u32) -> Self {
        blocks.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(blocks.len());
        for &(start, bytes) in &blocks {
            match ranges.last_mut() {
                Some(last) if last.1 == start => last.1 += bytes,
                _ => ranges.push((start, start + bytes)),
            }
        }
        Self { blocks, ranges, page_size, vcpus }
    }

    /// The blocks as address and size, in ascending order.
    pub fn blocks(&self) -> &[(u64, u64)] {
        &self.blocks
    }

    /// The first address behind all RAM.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |&(_, end)| end)
    }

    /// Whether every one of these bytes is in RAM.
    pub fn has(&self, address: u64, length: u64) -> bool {
        let Some(end) = address.checked_add(length) else { return false };
        let behind = self.ranges.partition_point(|&(start, _)| start <= address);
        behind.checked_sub(1).is_some_and(|range| end <= self.ranges[range].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_touch_are_one_range_and_nothing_else_is_ram() {
        let ram = Ram::new(vec![(0x5000, 0x1000), (0, 0x1000), (0x1000, 0x2000)], 0x1000, 1);
        for (address, length, expected) in [
            (0, 0x3000, true),
            (0xfff, 2, true),
            (0, 0x3001, false),
            (0x2fff, 2, false),
            (0x3000, 1, false),
            (0x5000, 0x1000, true),
            (0x4fff, 1, false),
            (0x5fff, u64::MAX, false),
        ] {
            assert_eq!(ram.has(address, length), expected, "{length:#x} bytes at {address:#x}");
        }
        assert_eq!(ram.end(), 0x6000);
        assert!(!Ram::new(Vec::new(), 0x1000, 1).has(0, 1));
    }
}
