//! Checks, for fuzzing and tests, that no file leads to a bad plan, whatever bytes it has: a plan must not be larger
//! than the file, and must not write where it may not. Loads are only planned here, and not carried out.

use std::path::Path;

use super::file::BootFile;
use super::plan::Plan;
use super::ram::Ram;
use super::{arm64, format};
use dirtyrate::Result;

/// A load, and the machine that it is planned for.
#[derive(Debug, Clone)]
pub struct Load<'a> {
    /// The kernel's file.
    pub kernel: &'a [u8],
    /// The initrd's file.
    pub initrd: Option<&'a [u8]>,
    /// The command line.
    pub cmdline: &'a str,
    /// Each RAM block's first address and bytes: whole pages of 4096 bytes, apart from each other and below 2^52.
    pub ram: &'a [(u64, u64)],
    /// How many vCPUs there are.
    pub vcpus: u32,
}

/// Plans a load as x86-64 does it. Returns whether the load is accepted.
///
/// # Panics
///
/// If the plan is one that must not be.
#[cfg(target_arch = "x86_64")]
pub fn check_x86_64(load: &Load<'_>) -> bool {
    check(load, |ram, kernel, initrd| {
        let (plan, start) = super::x86_64::plan(ram, kernel, load.cmdline, initrd)?;
        assert!(ram.has(start.rip, 1), "the entry {:#x} is in RAM", start.rip);
        Ok(plan)
    })
}

/// Plans a load as arm64 does it, except for the machine type of an ELF. Returns whether the load is accepted.
///
/// # Panics
///
/// If the plan is one that must not be.
pub fn check_arm64(load: &Load<'_>) -> bool {
    check(load, |ram, kernel, initrd| {
        let (plan, start) = arm64::plan(ram, kernel, load.cmdline, initrd)?;
        assert!(ram.has(start.entry, 1), "the entry {:#x} is in RAM", start.entry);
        assert!(ram.has(start.device_tree, 1), "the device tree is in RAM");
        Ok(plan)
    })
}

/// Names the format of a file, and checks that the name is short, whatever the file contains.
///
/// # Panics
///
/// If the name is one that must not be.
pub fn check_name(file: &[u8]) {
    let name = format::name(file);
    assert!(!name.is_empty() && name.len() < 400, "{} bytes of a name", name.len());
}

fn check<'a>(
    load: &Load<'a>,
    plan: impl for<'p> FnOnce(&Ram, &'p BootFile<'p>, Option<&'p BootFile<'p>>) -> Result<Plan<'p>>,
) -> bool {
    let open = |bytes: &'a [u8], name| BootFile::of_bytes(bytes, Path::new(name)).expect("bytes can be read");
    let (kernel, initrd) = (open(load.kernel, "kernel"), load.initrd.map(|bytes| open(bytes, "initrd")));
    let ram = Ram::new(load.ram.to_vec(), 4096, load.vcpus);
    match plan(&ram, &kernel, initrd.as_ref()) {
        Ok(plan) => {
            check_plan(load, &ram, &plan);
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1000, "{} bytes of an error", text.len());
            false
        }
    }
}

/// How many bytes a load writes beside the bytes of the files: tables for each vCPU and block.
fn bytes_beside(load: &Load<'_>) -> u64 {
    (64 << 10) + load.cmdline.len() as u64 + 256 * (u64::from(load.vcpus) + load.ram.len() as u64)
}

fn check_plan(load: &Load<'_>, ram: &Ram, plan: &Plan<'_>) {
    assert_eq!(plan.outside_ram(ram), None, "all of it is in RAM");
    assert_eq!(plan.overlap(), None, "no two writes are for one address");
    let written: u64 = plan.writes().map(|(_, length)| length).sum();
    let files = load.kernel.len() + load.initrd.map_or(0, <[u8]>::len);
    let most = files as u64 + bytes_beside(load);
    assert!(written <= most, "{written} bytes are written, of files with {files}");
    assert!(plan.writes().count() < 300, "{} writes", plan.writes().count());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A valid Image, and Images with one wrong field.
    #[test]
    fn an_arm64_image_is_planned_with_its_tree_and_initrd_or_refused_with_the_reason() {
        let ram = [(1_u64 << 30, 64_u64 << 20), (4 << 30, 1 << 20)];
        let mut kernel = vec![0; 4096];
        kernel[16..24].copy_from_slice(&(3_u64 << 20).to_le_bytes());
        kernel[56..60].copy_from_slice(b"ARM\x64");
        let initrd = [7; 5000];
        let load = Load { kernel: &kernel, initrd: Some(&initrd), cmdline: "console=ttyS0", ram: &ram, vcpus: 3 };
        assert!(check_arm64(&load));
        assert!(!check_arm64(&Load { initrd: Some(&vec![0; 62 << 20]), ..load.clone() }), "it does not fit");
        assert!(
            !check_arm64(&Load { cmdline: "a\0b", ..load.clone() }) && !check_arm64(&Load { ram: &[], ..load.clone() })
        );
        for (at, word) in [(8, 2_u64 << 20), (16, 4095), (16, 2 << 40), (16, 62 << 20)] {
            let mut kernel = kernel.clone();
            kernel[at..at + 8].copy_from_slice(&word.to_le_bytes());
            assert!(!check_arm64(&Load { kernel: &kernel, ..load.clone() }), "{word:#x} at {at}");
        }
    }

    /// The reservations at the beginning of the tree cover the tree itself and the initrd.
    #[test]
    fn a_device_tree_reserves_itself_and_the_initrd() {
        let ram = Ram::new(vec![(1 << 30, 64 << 20)], 4096, 2);
        let tree = super::super::device_tree::blob(&ram, 0x4001_0000, "", Some((0x4060_0000, 5000))).expect("a tree");
        let word = |at: usize| u64::from_be_bytes(*tree[at..].first_chunk().expect("8 bytes"));
        // Devicetree Specification, 5.2 and 5.3: where the reservations are, pairs of address and size that end with
        // zeros.
        let map = u32::from_be_bytes(*tree[16..].first_chunk().expect("4 bytes")) as usize;
        let reserved: Vec<_> = (0..3).map(|entry| (word(map + entry * 16), word(map + entry * 16 + 8))).collect();
        assert_eq!(reserved, [(0x4001_0000, tree.len() as u64), (0x4060_0000, 5000), (0, 0)]);
    }
}
