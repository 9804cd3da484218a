//! What `/proc/PID/maps` says about a range of addresses.

use std::ops::Range;

/// A part of a process's address space: a line of `/proc/PID/maps`, or several that continue each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The addresses.
    pub addresses: Range<u64>,
    /// Whether the process may read it.
    pub readable: bool,
    /// Whether writes go to the file, and not to a copy of the process's own.
    pub shared: bool,
    /// The major and the minor number of the file's device.
    pub device: (u32, u32),
    /// The file's inode; 0 for anonymous memory.
    pub inode: u64,
    /// Where in the file the mapping begins.
    pub offset: u64,
}

impl Mapping {
    fn of_line(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let flags = words.next()?.as_bytes();
        let offset = hexadecimal(words.next()?)?;
        let (major, minor) = words.next()?.split_once(':')?;
        Some(Self {
            addresses: hexadecimal(start)?..hexadecimal(end)?,
            readable: flags.first() == Some(&b'r'),
            shared: flags.get(3) == Some(&b's'),
            device: (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?),
            inode: words.next()?.parse().ok()?,
            offset,
        })
    }

    /// Whether the mapping has a file.
    pub fn has_file(&self) -> bool {
        self.inode != 0
    }

    /// Where in the file `address` is.
    pub fn file_offset(&self, address: u64) -> u64 {
        self.offset + (address - self.addresses.start)
    }

    /// The part of the mapping that is in `range`.
    fn clipped(&self, range: &Range<u64>) -> Option<Self> {
        let addresses = self.addresses.start.max(range.start)..self.addresses.end.min(range.end);
        let offset = if self.has_file() && !addresses.is_empty() { self.file_offset(addresses.start) } else { 0 };
        (!addresses.is_empty()).then(|| Self { addresses, offset, ..self.clone() })
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        let alike = Self { addresses: next.addresses.clone(), offset: next.offset, ..self.clone() } == *next;
        let offset = if self.has_file() { self.file_offset(self.addresses.end) } else { 0 };
        alike && next.addresses.start == self.addresses.end && next.offset == offset
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// The mappings in `range`, clipped to it. Neighbours that continue each other are one mapping, because the kernel
/// splits and joins mappings when their advice changes (`madvise`) or when a neighbour grows.
pub fn mappings_in(maps: &str, range: &Range<u64>) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    for mapping in maps.lines().filter_map(Mapping::of_line).filter_map(|mapping| mapping.clipped(range)) {
        match found.last_mut() {
            Some(last) if last.is_continued_by(&mapping) => last.addresses.end = mapping.addresses.end,
            _ => found.push(mapping),
        }
    }
    found
}

/// The addresses of the whole line that has `address`.
pub fn line_with(maps: &str, address: u64) -> Option<Range<u64>> {
    maps.lines().filter_map(Mapping::of_line).map(|mapping| mapping.addresses).find(|line| line.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
7f0000200000-7f0000300000 rw-p 00000000 00:00 0                          [anon: ram]
7f0000300000-7f0000301000 ---p 00000000 00:00 0 
7f0000400000-7f0000500000 rw-s 00000000 00:01 2068                       /memfd:a b (deleted)
7f0000500000-7f0000600000 rw-s 00100000 00:01 2068                       /memfd:a b (deleted)
7f0000600000-7f0000700000 rw-s 00000000 00:01 2068                       /memfd:a b (deleted)
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
";

    #[test]
    fn lines_that_continue_each_other_are_one_mapping() {
        let anonymous = mappings_in(MAPS, &(0x7f00_0010_0000..0x7f00_0030_0000));
        assert_eq!(anonymous.len(), 1);
        assert_eq!(anonymous[0].addresses, 0x7f00_0010_0000..0x7f00_0030_0000);
        assert!(anonymous[0].readable && !anonymous[0].shared && !anonymous[0].has_file());

        let file = mappings_in(MAPS, &(0x7f00_0040_8000..0x7f00_0070_0000));
        assert_eq!(file.len(), 2, "the third line begins at another offset than where the second one ends");
        assert_eq!(file[0].addresses, 0x7f00_0040_8000..0x7f00_0060_0000);
        assert_eq!((file[0].offset, file[0].inode, file[0].device), (0x8000, 2068, (0, 1)));
        assert_eq!(file[0].file_offset(0x7f00_0050_0000), 0x10_0000);
        assert!(file[0].shared);
    }

    #[test]
    fn a_hole_and_another_permission_are_seen() {
        let range = 0x7f00_0020_0000..0x7f00_0050_0000;
        let found = mappings_in(MAPS, &range);
        assert_eq!(found.len(), 3);
        assert!(!found[1].readable);
        assert_ne!(found[1].addresses.end, found[2].addresses.start);
        assert_eq!(mappings_in(MAPS, &(0..0x1000)), []);
    }

    #[test]
    fn the_line_of_an_address_is_whole() {
        assert_eq!(line_with(MAPS, 0x7f00_0050_1000), Some(0x7f00_0050_0000..0x7f00_0060_0000));
        assert_eq!(line_with(MAPS, 0x7f00_0030_1000), None);
    }
}
