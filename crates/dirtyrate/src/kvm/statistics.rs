//! KVM's statistics of a VM's vCPUs, in its binary form.
//!
//! KVM gives a file of statistics for each vCPU (KVM_GET_STATS_FD). Only the process that has the VM can ask for one,
//! but QEMU keeps those of its vCPUs open, and a process that may look at QEMU can copy the descriptors. Reading such a
//! file costs the guest nothing.
//!
//! Everything that is read is checked, because what another process has under such a name may be anything.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use crate::sampling::process::Process;

/// `struct kvm_stats_header`: six numbers of 4 bytes.
const HEADER: usize = 24;
/// `struct kvm_stats_desc` without its name.
const DESCRIPTOR: usize = 16;
/// Far more than any kernel has: 63 statistics of a vCPU, with names of 48 bytes (Linux 6.18).
const MOST_DESCRIPTORS: u32 = 4096;
const LONGEST_NAME: u32 = 1024;
const MOST_DATA: u64 = 1 << 20;
/// KVM_STATS_TYPE_MASK of the flags. The types up to PEAK have one value, and histograms have several.
const TYPE_MASK: u32 = 0xf;
const TYPE_PEAK: u32 = 2;
/// What the link of a descriptor of a vCPU's statistics begins with.
const LINK: &str = "anon_inode:kvm-vcpu-stats:";
/// The most descriptors that are copied: as many as a VM can have vCPUs.
const MOST_VCPUS: usize = 4096;

/// A file that can be read at any place.
pub trait ReadAt {
    /// Fills `bytes` from `offset` on; whether that was possible.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> bool;
}

impl ReadAt for fs::File {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> bool {
        FileExt::read_exact_at(self, bytes, offset).is_ok()
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> bool {
        let part = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)?.get(..bytes.len()));
        part.is_some_and(|part| {
            bytes.copy_from_slice(part);
            true
        })
    }
}

/// The statistics in one file that have one value each, by their names. `None` if the file has another form than that
/// of Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD.
pub fn read_statistics(file: &(impl ReadAt + ?Sized)) -> Option<BTreeMap<String, u64>> {
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).then_some(())?;
    let (words, _) = header.as_chunks::<4>();
    let [_flags, name_size, count, _id_offset, descriptors, data] =
        <[u32; 6]>::try_from(words.iter().map(|word| u32::from_ne_bytes(*word)).collect::<Vec<_>>()).ok()?;
    if name_size == 0 || name_size > LONGEST_NAME || count > MOST_DESCRIPTORS {
        return None;
    }
    let each = DESCRIPTOR + name_size as usize;
    let mut texts = vec![0; count as usize * each];
    file.read_exact_at(&mut texts, u64::from(descriptors)).then_some(())?;
    let mut found = BTreeMap::new();
    for text in texts.chunks_exact(each) {
        let (start, name) = text.split_at(DESCRIPTOR);
        let number = |at: usize| u32::from_ne_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
        let (flags, size, offset) = (number(0), u16::from_ne_bytes([start[6], start[7]]), u64::from(number(8)));
        if flags & TYPE_MASK > TYPE_PEAK || size != 1 {
            continue;
        }
        let end = name.iter().position(|byte| *byte == 0)?;
        let name = str::from_utf8(&name[..end]).ok().filter(|name| !name.is_empty())?;
        let mut value = [0; 8];
        (offset < MOST_DATA && file.read_exact_at(&mut value, u64::from(data) + offset)).then_some(())?;
        found.insert(name.to_owned(), u64::from_ne_bytes(value));
    }
    Some(found)
}

/// The statistics of the vCPUs of another process, each the sum over all vCPUs. `None` if the process keeps no file of
/// them open, or this process may not copy its descriptors.
pub fn statistics_of(process: &Process) -> Option<BTreeMap<String, u64>> {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.pid())).ok()?;
    let mut sums: Option<BTreeMap<String, u64>> = None;
    // A vCPU can have several descriptors, of the same name.
    let mut vcpus: BTreeMap<String, i32> = BTreeMap::new();
    for entry in descriptors {
        let entry = entry.ok()?;
        let link = match fs::read_link(entry.path()) {
            Ok(link) => link,
            // The process has closed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // A sum without one of the vCPUs would be too small.
            Err(_) => return None,
        };
        let (Some(link), Some(number)) = (link.to_str(), entry.file_name().to_str().and_then(|name| name.parse().ok()))
        else {
            continue;
        };
        if link.starts_with(LINK) {
            vcpus.insert(link.to_owned(), number);
            if vcpus.len() > MOST_VCPUS {
                return None;
            }
        }
    }
    for (link, number) in vcpus {
        let file = process.copy_descriptor(number).ok()?;
        // The process may have closed the descriptor meanwhile, and opened something else, which is not read then:
        // reading a pipe or a terminal would take something away from the process.
        let is_it = fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
        if is_it.ok()?.to_str() != Some(&link) {
            return None;
        }
        let sums = sums.get_or_insert_default();
        for (name, value) in read_statistics(&file)? {
            let sum: &mut u64 = sums.entry(name).or_default();
            *sum = sum.wrapping_add(value);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAME_SIZE: usize = 48;

    /// A file as KVM gives it, with these statistics: flags, name, values.
    fn file(statistics: &[(u32, &str, &[u64])]) -> Vec<u8> {
        let id = 24 + NAME_SIZE;
        let data = id + statistics.len() * (DESCRIPTOR + NAME_SIZE);
        let header = [0, NAME_SIZE as u32, statistics.len() as u32, 24, id as u32, data as u32];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
        bytes.resize(id, 0);
        let mut offset = 0_u32;
        for (flags, name, values) in statistics {
            bytes.extend(flags.to_ne_bytes());
            bytes.extend(0_i16.to_ne_bytes());
            bytes.extend((values.len() as u16).to_ne_bytes());
            bytes.extend(offset.to_ne_bytes());
            bytes.extend(0_u32.to_ne_bytes());
            let mut text = name.as_bytes().to_vec();
            text.resize(NAME_SIZE, 0);
            bytes.extend(text);
            offset += 8 * values.len() as u32;
        }
        bytes.extend(statistics.iter().flat_map(|(_, _, values)| values.iter().flat_map(|value| value.to_ne_bytes())));
        bytes
    }

    #[test]
    fn statistics_with_one_value_are_read_and_histograms_are_passed_over() {
        let bytes =
            file(&[(0, "exits", &[7]), (3, "halt_wait_hist", &[1; 32]), (1, "blocking", &[1]), (2, "peak", &[9])]);
        let found = read_statistics(&bytes[..]).expect("the form");
        let expected = [("blocking", 1), ("exits", 7), ("peak", 9)].map(|(name, value)| (name.to_owned(), value));
        assert_eq!(found, BTreeMap::from(expected));
        assert_eq!(read_statistics(&file(&[])[..]), Some(BTreeMap::new()));
    }

    #[test]
    fn what_has_another_form_is_refused() {
        let good = file(&[(0, "exits", &[7]), (0, "tlb_flush", &[8])]);
        for length in 0..good.len() {
            assert_eq!(read_statistics(&good[..length]), None, "cut at {length}");
        }
        let word = |at: usize, value: u32| {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
            bytes
        };
        let first = 24 + NAME_SIZE;
        // The size of a name, the count, the places of descriptors and data; the place of a value.
        for (at, value) in [(4, 0), (4, u32::MAX), (4, LONGEST_NAME + 1), (8, u32::MAX), (8, MOST_DESCRIPTORS + 1)]
            .into_iter()
            .chain([(16, u32::MAX), (20, u32::MAX), (first + 8, u32::MAX), (first + 8, MOST_DATA as u32)])
        {
            assert_eq!(read_statistics(&word(at, value)[..]), None, "{value} at {at}");
        }
        let mut endless = good.clone();
        endless[first + DESCRIPTOR..first + DESCRIPTOR + NAME_SIZE].fill(b'x');
        assert_eq!(read_statistics(&endless[..]), None, "a name without an end");
        let mut foreign = good.clone();
        foreign[first + DESCRIPTOR] = 0xff;
        assert_eq!(read_statistics(&foreign[..]), None, "a name that is no text");
    }

    /// Bytes without an end: each count and place in them leads somewhere.
    struct Endless(u8);

    impl ReadAt for Endless {
        fn read_exact_at(&self, bytes: &mut [u8], _: u64) -> bool {
            assert!(bytes.len() <= (MOST_DESCRIPTORS as usize) * (DESCRIPTOR + LONGEST_NAME as usize), "bounded");
            bytes.fill(self.0);
            true
        }
    }

    #[test]
    fn a_file_without_an_end_takes_bounded_memory() {
        for byte in [0, 1, 0x41, 0xff] {
            assert_eq!(read_statistics(&Endless(byte)), None, "{byte}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_statistics(&bytes[..]);
        }

        #[test]
        fn a_changed_byte_is_read_or_refused(at in 0_usize..200, byte: u8) {
            let mut bytes = file(&[(0, "exits", &[7]), (0, "tlb_flush", &[8])]);
            bytes[at] = byte;
            let _ = read_statistics(&bytes[..]);
        }
    }
}
