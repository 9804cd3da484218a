//! What makes soft-dirty bits say too much or too little, as `/proc/PID/smaps` shows it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::merging::Merging;
use crate::error::{Error, FailedCall, Result};
use crate::sampling::process::{MappedRanges, Process};

/// What smaps says about the memory that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traps {
    /// For each range, whether some of it is in huge pages, which have one bit each.
    pub huge: Vec<bool>,
    /// Another process, or another mapping, has some of the same pages: its writes leave no bit here.
    pub shared: bool,
    /// How much of the memory the kernel may merge with other pages of the same contents, if it merges any.
    mergeable_bytes: u64,
    /// Whether the kernel merges pages.
    merging: Merging,
    /// A mapping counts as new, so that all of it counts as written.
    pub new: bool,
    /// A mapping does not count as new, because somebody has cleared the bits before.
    pub cleared: bool,
    /// A mapping is of a kind that has no soft-dirty bits, in words.
    no_bits: Option<&'static str>,
}

/// One mapping, as smaps has it.
#[derive(Debug, Default)]
struct Area {
    addresses: Range<u64>,
    shared: bool,
    /// kB of huge pages, and of pages that are mapped somewhere else too.
    huge: u64,
    elsewhere: u64,
    flags: Vec<String>,
}

impl Traps {
    /// Looks at the ranges of a process.
    pub fn of(process: &Process, ranges: &MappedRanges) -> Result<Self> {
        let path = format!("/proc/{}/smaps", process.pid());
        let text = contents_of(&path);
        process.check()?;
        let text = text.map_err(|failed| failed.about_process(process.pid(), path))?;
        let addresses: Vec<_> = ranges.iter().map(|(addresses, _)| addresses.clone()).collect();
        // The name of a mapped file may be any bytes.
        let mut traps = Self::in_text(&String::from_utf8_lossy(&text), &addresses);
        traps.merging = Merging::now();
        let descriptors = format!("/proc/{}/fd", process.pid());
        let has_device = has_passed_through_device(Path::new(&descriptors));
        process.check()?;
        if has_device.map_err(|failed| failed.about_process(process.pid(), descriptors))? {
            traps.no_bits =
                Some("has a device of the host (VFIO or vDPA), which writes without a bit, and whose pages keep it");
        }
        Ok(traps)
    }

    fn in_text(text: &str, ranges: &[Range<u64>]) -> Self {
        let mut traps = Self { huge: vec![false; ranges.len()], ..Self::default() };
        for area in areas(text) {
            let mut measured = 0;
            for (range, huge) in ranges.iter().zip(&mut traps.huge) {
                let (start, end) = (area.addresses.start.max(range.start), area.addresses.end.min(range.end));
                if start < end {
                    measured += end - start;
                    *huge |= area.huge > 0;
                }
            }
            if measured == 0 {
                continue;
            }
            let has = |flag: &str| area.flags.iter().any(|found| found == flag);
            traps.shared |= area.shared && area.elsewhere > 0;
            traps.mergeable_bytes += if has("mg") { measured } else { 0 };
            traps.new |= has("sd");
            traps.cleared |= !has("sd");
            if has("ht") {
                traps.no_bits = Some("has memory of hugetlbfs, which has no soft-dirty bits");
            } else if has("um") || has("uw") {
                traps.no_bits = Some("has memory that a userfaultfd serves, which is left alone");
            }
        }
        traps
    }

    /// Whether the kernel may merge some of the pages, whose bits are lost with that.
    pub fn merges(&self) -> bool {
        self.merging == Merging::On && self.mergeable_bytes > 0
    }

    /// Whether merged pages were separated since `before`, so that they may count as written.
    pub fn has_separated(&self, before: &Self) -> bool {
        let has_ended = self.merging == Merging::Ended && before.merging != Merging::Ended;
        self.mergeable_bytes < before.mergeable_bytes || has_ended && before.mergeable_bytes > 0
    }

    /// Fails if some of the memory has no soft-dirty bits.
    pub fn refuse(&self, pid: u32) -> Result<()> {
        match self.no_bits {
            Some(what) => Err(Error::State(format!("mode soft-dirty cannot measure process {pid}: it {what}"))),
            None => Ok(()),
        }
    }
}

fn areas(text: &str) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    for line in text.lines() {
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some((start, end)) = key.split_once('-') {
            let Ok(start) = u64::from_str_radix(start, 16) else { continue };
            let Ok(end) = u64::from_str_radix(end, 16) else { continue };
            let shared = rest.as_bytes().get(3) == Some(&b's');
            areas.push(Area { addresses: start..end, shared, ..Area::default() });
            continue;
        }
        let Some(area) = areas.last_mut() else { continue };
        let kilobytes = || rest.trim().split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        match key {
            "AnonHugePages:" | "ShmemPmdMapped:" | "FilePmdMapped:" => area.huge += kilobytes(),
            "Shared_Clean:" | "Shared_Dirty:" => area.elsewhere += kilobytes(),
            "VmFlags:" => area.flags = rest.split_ascii_whitespace().map(str::to_owned).collect(),
            _ => {}
        }
    }
    areas
}

/// Reads a whole file.
fn contents_of(path: &str) -> std::result::Result<Vec<u8>, FailedCall> {
    let mut contents = Vec::new();
    let mut file = File::open(path).map_err(FailedCall::of("open"))?;
    file.read_to_end(&mut contents).map_err(FailedCall::of("read"))?;
    Ok(contents)
}

/// Whether the process with these descriptors has a device by VFIO, or by vDPA. The kernel does not clear the bits of
/// pages that such a device may write.
fn has_passed_through_device(descriptors: &Path) -> std::result::Result<bool, FailedCall> {
    for entry in fs::read_dir(descriptors).map_err(FailedCall::of("open"))? {
        let entry = entry.map_err(FailedCall::of("getdents64"))?;
        let link = match fs::read_link(entry.path()) {
            // It was closed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            link => link.map_err(FailedCall::of("readlink"))?,
        };
        let link = link.to_string_lossy();
        if link.starts_with("/dev/vfio/") || link.starts_with("/dev/vhost-vdpa") || link.contains("[vfio-device]") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many pages of `page_size` a huge page has.
pub fn pages_of_huge(page_size: u64) -> u64 {
    let bytes = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    bytes.ok().and_then(|text| text.trim().parse::<u64>().ok()).map_or(512, |bytes| bytes / page_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0 
Rss:                4096 kB
Shared_Clean:          4 kB
AnonHugePages:      2048 kB
VmFlags: rd wr mr mw me ac sd hg mg
7f0000400000-7f0000500000 rw-s 00000000 00:01 2068                       /memfd:a b (deleted)
Shared_Clean:          0 kB
Shared_Dirty:          8 kB
ShmemPmdMapped:        0 kB
VmFlags: rd wr sh mr mw me ms
7f0000500000-7f0000600000 rw-p 00000000 00:01 9                          /dev/hugepages/x
VmFlags: rd wr mr mw me de ht sd
7f0000600000-7f0000700000 rw-p 00000000 00:00 0 
VmFlags: rd wr mr mw me um
";

    #[test]
    fn traps_are_those_of_the_memory_that_is_measured() {
        let of = |ranges: &[Range<u64>]| Traps::in_text(SMAPS, ranges);
        let (first, second) = (0x7f00_0010_0000..0x7f00_0020_0000, 0x7f00_0040_0000..0x7f00_0050_0000);
        let expected = Traps { huge: vec![true], mergeable_bytes: 1 << 20, new: true, ..Traps::default() };
        assert_eq!(of(std::slice::from_ref(&first)), expected, "private pages are shared with children only");
        let expected = Traps { huge: vec![false], shared: true, cleared: true, ..Traps::default() };
        assert_eq!(of(std::slice::from_ref(&second)), expected);
        assert_eq!(of(&[second, first]).huge, [false, true]);
    }

    #[test]
    fn merged_pages_are_separated_by_the_kernel_or_by_the_process() {
        let of = |mergeable_bytes, merging| Traps { mergeable_bytes, merging, ..Traps::default() };
        let (off, on, ended) = (of(8192, Merging::Off), of(8192, Merging::On), of(8192, Merging::Ended));
        assert!(on.merges() && !off.merges() && !ended.merges() && !of(0, Merging::On).merges());
        assert!(ended.has_separated(&off) && ended.has_separated(&on) && !ended.has_separated(&ended));
        assert!(!on.has_separated(&off) && !off.has_separated(&on) && !on.has_separated(&ended));
        assert!(of(4096, Merging::Off).has_separated(&off), "some of it is mergeable no more");
        assert!(!off.has_separated(&of(4096, Merging::Off)));
        assert!(!of(0, Merging::Ended).has_separated(&of(0, Merging::On)), "none of it was merged");
    }

    #[test]
    fn memory_without_bits_is_refused() {
        for (start, expected) in [(0x7f00_0050_0000, "hugetlbfs"), (0x7f00_0060_0000, "userfaultfd")] {
            let range: Range<u64> = start..start + 4096;
            let refused = Traps::in_text(SMAPS, &[range]).refuse(42);
            assert!(matches!(&refused, Err(Error::State(text)) if text.contains(expected)), "{refused:?}");
        }
        let range: Range<u64> = 0x7f00_0000_0000..0x7f00_0000_1000;
        assert!(Traps::in_text(SMAPS, &[range]).refuse(42).is_ok());
    }

    #[test]
    fn a_device_of_the_host_is_known_by_the_descriptor() {
        let folder = std::env::temp_dir().join(format!("dirtyrate-descriptors-{}", std::process::id()));
        let cases = [
            ("/dev/vfio/12", true),             // a group of the container of type 1
            ("/dev/vfio/devices/vfio0", true),  // a device of its own, with iommufd
            ("anon_inode:[vfio-device]", true), // a device of a group
            ("/dev/vhost-vdpa-0", true),        // a device that speaks virtio
            ("/dev/vhost-net", false),          // the kernel writes through the page tables of the process
            ("anon_inode:kvm-vfio", false),     // KVM has this file without any device
            ("/home/dev/vfio/disk.img", false),
        ];
        for (link, expected) in cases {
            fs::create_dir_all(&folder).expect("a folder");
            std::os::unix::fs::symlink("/dev/null", folder.join("0")).expect("a link");
            std::os::unix::fs::symlink(link, folder.join("17")).expect("a link");
            assert_eq!(has_passed_through_device(&folder).expect("a folder of links"), expected, "{link}");
            fs::remove_dir_all(&folder).expect("it was made");
        }
    }
}
