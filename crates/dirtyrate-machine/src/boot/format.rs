//! Names the format of a file that cannot be booted, and says what to do about it.

/// The offset and the bytes by which a Linux bzImage is recognised.
pub(super) const BZIMAGE_MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// The offset and the bytes by which an arm64 Image is recognised.
pub(super) const IMAGE_MAGIC: (usize, &[u8]) = (56, b"ARM\x64");

/// The first bytes of packed files, the name of the format, and the program that unpacks it.
const PACKED: [(&[u8], &str, &str); 8] = [
    (b"\x1f\x8b", "gzip", "gzip -dc"),
    (b"\xfd7zXZ\0", "xz", "xz -dc"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd -dc"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
    (b"\x02\x21\x4c\x18", "lz4", "lz4 -dc"),
    (b"\x5d\0\0", "lzma", "xz --format=lzma -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (b"\x89LZO\0", "lzop", "lzop -dc"),
];

/// The offsets and the bytes by which disk images are recognised, and their names.
const DISKS: [(usize, &[u8], &str); 9] = [
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "VMDK"),
    (0, b"vhdxfile", "VHDX"),
    (0, b"conectix", "VHD"),
    (0x40, b"\x7f\x10\xda\xbe", "VDI"),
    (0x8001, b"CD001", "ISO 9660"),
    (0, b"hsqs", "squashfs"),
    (0x438, b"\x53\xef", "ext4"),
    (512, b"EFI PART", "GPT"),
];

/// Other formats that are recognised by their first bytes.
const OTHERS: [(&[u8], &str); 9] = [
    (b"07070", "an initrd (cpio), which is no kernel: give it as the initrd of one"),
    (b"\xd0\x0d\xfe\xed", "a device tree, or a FIT image: take the kernel out of it (dumpimage -l says where it is)"),
    (b"\x27\x05\x19\x56", "a U-Boot image (uImage): cut its header of 64 bytes off, and unpack what is behind it"),
    (b"!<arch>\n", "an archive, or a Debian package: give the kernel that is in it"),
    (b"\xed\xab\xee\xdb", "an RPM package: give the kernel that is in it"),
    (b"PK\x03\x04", "a zip file: give the kernel that is in it"),
    (b"KDUMP   ", "a crash dump, which is no kernel"),
    (b"#!", "a script, which is no kernel"),
    (b"\xfe\xed\xfa", "a Mach-O file, which Linux machines do not boot"),
];

/// The name of this machine's architecture.
const THIS: &str = if cfg!(target_arch = "x86_64") { "x86-64" } else { "arm64" };

/// Names the format of a file that cannot be booted, by its first bytes, and says what to do about it.
pub(super) fn name(head: &[u8]) -> String {
    recognized(head).unwrap_or_else(|| format!("neither an ELF file nor {}", image()))
}

/// The name in errors for a kernel image that is no ELF.
fn image() -> &'static str {
    if cfg!(target_arch = "x86_64") { "a bzImage" } else { "an Image" }
}

fn recognized(head: &[u8]) -> Option<String> {
    let at = |(offset, magic): (usize, &[u8])| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(IMAGE_MAGIC) {
        return Some(format!("a Linux Image for arm64, and this machine is {THIS}"));
    }
    if at((56, b"RSC\x05")) {
        return Some(format!("a Linux Image for RISC-V, and this machine is {THIS}"));
    }
    if at(BZIMAGE_MAGIC) {
        return Some(format!("a Linux bzImage for x86, and this machine is {THIS}"));
    }
    if at((0, b"MZ")) {
        return Some(efi(head));
    }
    if let Some((_, name, command)) = PACKED.iter().find(|(magic, ..)| at((0, magic))) {
        return Some(format!(
            "packed with {name}: unpack it first ({command} FILE > kernel), and give what that makes"
        ));
    }
    if let Some((.., name)) = DISKS.iter().find(|(offset, magic, _)| at((*offset, magic))) {
        return Some(format!(
            "an image of a disk or a file system ({name}), and this machine has no disks: give the kernel that is in it, and its initrd"
        ));
    }
    if let Some((_, text)) = OTHERS.iter().find(|(magic, _)| at((0, magic))) {
        return Some((*text).to_owned());
    }
    let boot_sector = at((510, b"\x55\xaa"));
    boot_sector.then(|| "an image of a disk, and this machine has no disks: give the kernel that is in it".to_owned())
}

/// A program for EFI or Windows, which both are PE files.
fn efi(head: &[u8]) -> String {
    let word = |at: usize| Some(u32::from_le_bytes(*head.get(at..)?.first_chunk()?));
    if head.get(4..8) == Some(b"zimg") {
        // Linux, drivers/firmware/efi/libstub/zboot-header.S: where the payload is, its size, and what it is packed
        // with.
        let (Some(offset), Some(size)) = (word(8), word(12)) else { return "a cut-off EFI zboot kernel".to_owned() };
        let packer = head.get(24..56).unwrap_or_default().split(|&byte| byte == 0).next().unwrap_or_default();
        let packer = String::from_utf8_lossy(packer);
        let packer =
            if packer.chars().all(|letter| letter.is_ascii_alphanumeric()) { &packer } else { "an unknown tool" };
        return format!(
            "a kernel for EFI that unpacks itself (zboot): cut out what is packed in it (tail -c +{} FILE | head -c {size}) and unpack that, which was packed with {packer}",
            u64::from(offset) + 1
        );
    }
    if sections(head).is_some_and(|mut names| names.any(|name| name == b".linux\0\0")) {
        return "a unified kernel image: take kernel and initrd out of it (objcopy --dump-section .linux=kernel --dump-section .initrd=initrd FILE) and give those"
            .to_owned();
    }
    "a program for EFI or Windows (PE), which is no kernel".to_owned()
}

/// The names of a PE file's sections.
fn sections(head: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let half = |at: usize| Some(usize::from(u16::from_le_bytes(*head.get(at..)?.first_chunk()?)));
    let header = u32::from_le_bytes(*head.get(0x3c..)?.first_chunk()?) as usize;
    let header = head.get(header..)?.starts_with(b"PE\0\0").then_some(header)?;
    let (count, optional) = (half(header + 6)?, half(header + 20)?);
    let table = head.get(header + 24 + optional..)?;
    Some(table.chunks_exact(40).take(count).map(|section| &section[..8]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut file = vec![0; 36 << 10];
        for (at, bytes) in parts {
            file[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        file
    }

    #[test]
    fn a_file_that_is_no_kernel_is_named_with_what_to_do() {
        let pe = |name: &[u8]| {
            let mut optional = vec![0; 40];
            optional[..name.len()].copy_from_slice(name);
            file(&[
                (0, b"MZ"),
                (0x3c, &[0x80, 0, 0, 0]),
                (0x80, b"PE\0\0"),
                (0x86, &[2, 0]),
                (0x94, &[240, 0]),
                (0x98 + 240, b".text"),
                (0x98 + 280, &optional),
            ])
        };
        let cases: [(&str, Vec<u8>); 25] = [
            ("packed with gzip: unpack it first (gzip -dc", file(&[(0, b"\x1f\x8b\x08")])),
            ("packed with xz", file(&[(0, b"\xfd7zXZ\0")])),
            ("packed with zstd", file(&[(0, b"\x28\xb5\x2f\xfd")])),
            ("packed with lz4", file(&[(0, b"\x02\x21\x4c\x18")])),
            ("packed with lzma", file(&[(0, b"\x5d\0\0\x80")])),
            ("packed with bzip2", file(&[(0, b"BZh9")])),
            ("packed with lzop", file(&[(0, b"\x89LZO\0\r\n")])),
            ("(qcow2), and this machine has no disks", file(&[(0, b"QFI\xfb")])),
            ("ISO 9660", file(&[(0x8001, b"CD001")])),
            ("GPT", file(&[(510, b"\x55\xaaEFI PART")])),
            ("ext4", file(&[(0x438, b"\x53\xef")])),
            ("an image of a disk, and", file(&[(510, b"\x55\xaa")])),
            ("give it as the initrd", file(&[(0, b"070701")])),
            ("a device tree, or a FIT image", file(&[(0, b"\xd0\x0d\xfe\xed")])),
            ("uImage", file(&[(0, b"\x27\x05\x19\x56")])),
            ("Debian package", file(&[(0, b"!<arch>\ndebian-binary")])),
            ("a script", file(&[(0, b"#!/bin/sh")])),
            ("for RISC-V", file(&[(0, b"MZ"), (56, b"RSC\x05")])),
            ("a unified kernel image: take kernel", pe(b".linux")),
            ("EFI or Windows (PE)", pe(b".data")),
            ("EFI or Windows (PE)", b"MZ".to_vec()),
            (
                "(tail -c +16385 FILE | head -c 4660) and unpack that, which was packed with gzip",
                file(&[(0, b"MZ\0\0zimg\0\x40\0\0\x34\x12\0\0"), (24, b"gzip\0")]),
            ),
            ("a cut-off EFI zboot kernel", b"MZ\0\0zimg\0\x40".to_vec()),
            ("neither an ELF file nor", file(&[])),
            ("neither an ELF file nor", Vec::new()),
        ];
        for (expected, head) in cases {
            let text = name(&head);
            assert!(text.contains(expected), "{expected}: {text}");
        }
        let (other, magic) = if cfg!(target_arch = "x86_64") {
            ("for arm64, and this machine is x86-64", IMAGE_MAGIC)
        } else {
            ("for x86, and this machine is arm64", BZIMAGE_MAGIC)
        };
        assert!(name(&file(&[(0, b"MZ"), magic])).contains(other));
    }
}
