//! The smallest ELF that can be booted: one segment to load, and for PVH one note with the entry point.
//!
//! ELF64 as in the System V ABI; the note is `XEN_ELFNOTE_PHYS32_ENTRY` of Xen's
//! `public/elfnote.h`.

use super::contract::PAGE_SIZE;

const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const NOTE_AT: usize = HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES;

/// The boot protocol for which the file is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each architecture has its own")]
pub(super) enum Executable {
    /// PVH, on x86-64.
    Pvh,
    /// Any loader that enters an arm64 ELF at its entry point.
    Arm64,
}

impl Executable {
    fn machine(self) -> u16 {
        match self {
            Self::Pvh => EM_X86_64,
            Self::Arm64 => EM_AARCH64,
        }
    }
}

const ET_EXEC: u16 = 2;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// The note. Its descriptor has 8 bytes although the entry has 32 bits: QEMU reads 8 of them from
/// an ELF64, and Linux writes 8.
fn note(entry: u64) -> Vec<u8> {
    let mut note = Vec::new();
    note.extend(4u32.to_le_bytes());
    note.extend(8u32.to_le_bytes());
    note.extend(XEN_ELFNOTE_PHYS32_ENTRY.to_le_bytes());
    note.extend(b"Xen\0");
    note.extend(entry.to_le_bytes());
    note
}

/// One program header.
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
    alignment: u64,
}

impl ProgramHeader {
    fn append_to(&self, file: &mut Vec<u8>) {
        file.extend(self.kind.to_le_bytes());
        file.extend(self.flags.to_le_bytes());
        for word in [self.offset, self.address, self.address, self.file_bytes, self.memory_bytes, self.alignment] {
            file.extend(word.to_le_bytes());
        }
    }
}

/// A file that puts `contents` at the guest address `base`, zeroes up to `memory_bytes`, and starts
/// at `entry`.
pub(super) fn file(kind: Executable, base: u64, contents: &[u8], memory_bytes: u64, entry: u64) -> Vec<u8> {
    let note = (kind == Executable::Pvh).then(|| note(entry));
    let mut file = Vec::with_capacity(PAGE_SIZE as usize + contents.len());
    file.extend(b"\x7fELF");
    file.extend([2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // ELFCLASS64, little-endian, version 1, System V
    file.extend(ET_EXEC.to_le_bytes());
    file.extend(kind.machine().to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for word in [entry, HEADER_BYTES as u64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [HEADER_BYTES, PROGRAM_HEADER_BYTES, 1 + usize::from(note.is_some()), 64, 0, 0] {
        file.extend((half as u16).to_le_bytes());
    }
    ProgramHeader {
        kind: PT_LOAD,
        flags: PF_R | PF_W | PF_X,
        offset: PAGE_SIZE,
        address: base,
        file_bytes: contents.len() as u64,
        memory_bytes,
        alignment: PAGE_SIZE,
    }
    .append_to(&mut file);
    if let Some(note) = note {
        ProgramHeader {
            kind: PT_NOTE,
            flags: PF_R,
            offset: NOTE_AT as u64,
            address: 0,
            file_bytes: note.len() as u64,
            memory_bytes: 0,
            alignment: 4,
        }
        .append_to(&mut file);
        file.extend(note);
    }
    file.resize(PAGE_SIZE as usize, 0);
    file.extend(contents);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word<const N: usize>(file: &[u8], at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..N].copy_from_slice(&file[at..at + N]);
        u64::from_le_bytes(bytes)
    }

    /// Read at the offsets of the ABI's tables, not with the constants above.
    #[test]
    fn headers_and_note_are_where_loaders_look() {
        let contents: Vec<u8> = (0..9000u32).map(|i| i as u8).collect();
        let file = file(Executable::Pvh, 0x10_0000, &contents, 0x4_5000, 0x10_0040);
        assert_eq!(&file[..7], b"\x7fELF\x02\x01\x01");
        assert_eq!(word::<2>(&file, 16), 2, "e_type");
        assert_eq!(word::<2>(&file, 18), 62, "e_machine");
        assert_eq!(word::<4>(&file, 20), 1, "e_version");
        assert_eq!(word::<8>(&file, 24), 0x10_0040, "e_entry");
        assert_eq!(word::<8>(&file, 40), 0, "e_shoff");
        // QEMU refuses flags 0x00010004, with which a multiboot header would announce an address.
        assert_eq!(word::<4>(&file, 48), 0, "e_flags");
        assert_eq!(word::<2>(&file, 52), 64, "e_ehsize");
        assert_eq!(word::<2>(&file, 54), 56, "e_phentsize");
        assert_eq!(word::<2>(&file, 56), 2, "e_phnum");
        assert_eq!(word::<2>(&file, 60), 0, "e_shnum");

        let load = word::<8>(&file, 32) as usize;
        assert_eq!(word::<4>(&file, load), 1, "PT_LOAD");
        let offset = word::<8>(&file, load + 8) as usize;
        assert_eq!(word::<8>(&file, load + 16), 0x10_0000, "p_vaddr");
        assert_eq!(word::<8>(&file, load + 24), 0x10_0000, "p_paddr");
        assert_eq!(word::<8>(&file, load + 32), 9000, "p_filesz");
        assert_eq!(word::<8>(&file, load + 40), 0x4_5000, "p_memsz");
        assert_eq!(word::<8>(&file, load + 48), 4096, "p_align");
        assert_eq!(offset % 4096, 0x10_0000 % 4096);
        assert_eq!(&file[offset..], contents);

        let note = load + 56;
        assert_eq!(word::<4>(&file, note), 4, "PT_NOTE");
        assert_eq!(word::<8>(&file, note + 48), 4, "p_align");
        let at = word::<8>(&file, note + 8) as usize;
        assert_eq!(word::<8>(&file, note + 32), 24, "p_filesz");
        assert_eq!(word::<4>(&file, at), 4, "namesz");
        assert_eq!(word::<4>(&file, at + 4), 8, "descsz");
        assert_eq!(word::<4>(&file, at + 8), 18, "type");
        assert_eq!(&file[at + 12..at + 16], b"Xen\0");
        assert_eq!(word::<8>(&file, at + 16), 0x10_0040, "entry");
    }

    #[test]
    fn on_arm64_there_is_the_entry_and_no_note() {
        let file = file(Executable::Arm64, 0x4010_0000, &[7; 5000], 0x9000, 0x4010_0000);
        assert_eq!(word::<2>(&file, 18), 183, "e_machine");
        assert_eq!(word::<8>(&file, 24), 0x4010_0000, "e_entry");
        assert_eq!(word::<2>(&file, 56), 1, "e_phnum");
        let load = word::<8>(&file, 32) as usize;
        assert_eq!(word::<8>(&file, load + 24), 0x4010_0000, "p_paddr");
        assert_eq!(file[word::<8>(&file, load + 8) as usize..], [7; 5000]);
    }
}
