//! Files that are booted, made of an input: a file that is nearly good, and what is changed in it. So a few bytes of an
//! input are enough to get to every field, and no corpus has to be kept.

use dirtyrate_machine::boot::fuzzing::Load;

use crate::Input;

/// Numbers at which something overflows, or is just about right.
const EDGES: [u64; 12] =
    [0, 1, 4, 0x1000, 0x10_0000, 0x20_0000, 3 << 30, 4 << 30, 1 << 40, 1 << 63, u64::MAX - 0xfff, u64::MAX];

/// An ELF with two segments to load and a note with the entry of PVH.
pub fn elf() -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    elf[16..21].copy_from_slice(&[2, 0, 62, 0, 1]);
    elf[24..32].copy_from_slice(&(1_u64 << 20).to_le_bytes());
    elf[32] = 64;
    elf[52..58].copy_from_slice(&[64, 0, 56, 0, 3, 0]);
    let data_at = 64 + 3 * 56;
    for (kind, offset, address, bytes, memory) in
        [(1_u32, data_at, 1 << 20, 8, 0x3000), (1, data_at + 8, 2 << 20, 8, 8), (4, data_at + 16, 0, 40, 40_u64)]
    {
        elf.extend(kind.to_le_bytes());
        elf.extend(7_u32.to_le_bytes());
        for word in [offset, address, address, bytes, memory, 8] {
            elf.extend(word.to_le_bytes());
        }
    }
    elf.extend([0xf4; 16]);
    for (kind, descriptor) in [(5_u32, *b"xen\0"), (18, (1_u32 << 20).to_le_bytes())] {
        for word in [4_u32, 4, kind] {
            elf.extend(word.to_le_bytes());
        }
        elf.extend(b"Xen\0");
        elf.extend(descriptor);
    }
    elf
}

/// A Linux bzImage: its header, and a few bytes of a kernel.
pub fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 5 * 512 + 64];
    for (at, bytes) in [
        (0x1f1, &[4][..]),
        (0x1f4, &4_u32.to_le_bytes()),
        (0x1fe, &[0x55, 0xaa]),
        (0x201, &[0x6a]),
        (0x202, b"HdrS"),
        (0x206, &0x020f_u16.to_le_bytes()),
        (0x211, &[1]),
        (0x214, &(1_u32 << 20).to_le_bytes()),
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()),
        (0x238, &2047_u32.to_le_bytes()),
        (0x258, &(16_u64 << 20).to_le_bytes()),
        (0x260, &(1_u32 << 20).to_le_bytes()),
    ] {
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    image
}

/// A Linux Image for arm64: its header, and a few bytes.
pub fn image() -> Vec<u8> {
    let mut image = vec![0; 128];
    image[..2].copy_from_slice(b"MZ");
    image[16..24].copy_from_slice(&(1_u64 << 20).to_le_bytes());
    image[56..60].copy_from_slice(b"ARM\x64");
    image
}

/// A program for EFI with a table of sections.
pub fn efi() -> Vec<u8> {
    let mut efi = vec![0; 512];
    for (at, bytes) in [
        (0, &b"MZ\0\0zimg"[..]),
        (8, &0x80_u32.to_le_bytes()),
        (24, b"zstd"),
        (0x3c, &[0x80]),
        (0x80, b"PE\0\0"),
        (0x86, &[2]),
        (0x98, b".text"),
        (0x98 + 40, b".linux"),
    ] {
        efi[at..at + bytes.len()].copy_from_slice(bytes);
    }
    efi
}

/// `file` with what the input changes in it: words of any size at any place, and its length.
pub fn changed(mut file: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    for _ in 0..input.below(24) {
        let bytes = match input.below(4) {
            0 => input.take(8).to_vec(),
            1 => EDGES[input.below(EDGES.len() as u64) as usize].to_le_bytes()[..4].to_vec(),
            2 => EDGES[input.below(EDGES.len() as u64) as usize].to_le_bytes().to_vec(),
            _ => {
                let length = input.below(2 * file.len() as u64 + 1);
                file.resize(length as usize, 0xf4);
                continue;
            }
        };
        let at = input.below(file.len() as u64 + 1) as usize;
        file.resize(file.len().max(at + bytes.len()), 0);
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    }
    file
}

/// RAM of a machine: one that is usual, or blocks anywhere.
fn ram(input: &mut Input<'_>) -> Vec<(u64, u64)> {
    match input.below(5) {
        0 => vec![(0, 64 << 20)],
        1 => vec![(0, 2 << 30), (4 << 30, 1 << 40)],
        2 => vec![(1 << 30, 256 << 20)],
        3 => vec![(0, 1 << 20)],
        _ => {
            let mut end = input.below(3) << 20;
            let blocks = (0..input.below(400)).map(|_| {
                let start = end + (input.below(300) << 12);
                end = start + ((1 + input.below(5000)) << 12);
                (start, end - start)
            });
            blocks.collect()
        }
    }
}

/// A load of `kernel`, with the rest of it made of the input.
pub fn with_load(kernel: &[u8], input: &mut Input<'_>, check: impl FnOnce(&Load<'_>) -> bool) {
    let ram = ram(input);
    let vcpus = 1 + input.below(300) as u32;
    let initrd = match input.below(3) {
        0 => None,
        1 => Some(vec![7; 1 + input.below(5000) as usize]),
        _ => Some(vec![7; 1 << 20]),
    };
    let cmdline = String::from_utf8_lossy(input.take(64)).repeat(1 + input.below(40) as usize);
    check(&Load { kernel, initrd: initrd.as_deref(), cmdline: &cmdline, ram: &ram, vcpus });
}
