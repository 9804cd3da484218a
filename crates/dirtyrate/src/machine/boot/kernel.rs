//! A kernel file: which bytes of it go where, and where it is entered.
//!
//! linux-loader would load it, but it takes only the last note segment for the one with the PVH entry, leaves BSS as it is,
//! and has written half a kernel by the time it finds that the rest is bad.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use elf::ElfBytes;
#[cfg(target_arch = "aarch64")]
use elf::abi::EM_AARCH64;
use elf::abi::PT_LOAD;
#[cfg(target_arch = "x86_64")]
use elf::abi::PT_NOTE;
use elf::endian::LittleEndian;
#[cfg(target_arch = "x86_64")]
use elf::note::Note;

use super::plan::Plan;
use crate::error::{Error, Result};

/// The note whose descriptor is the 32-bit entry of PVH (Xen, public/elfnote.h).
#[cfg(target_arch = "x86_64")]
const XEN_ELFNOTE_PHYS32_ENTRY: u64 = 18;
#[cfg(target_arch = "x86_64")]
const XEN_NOTE_NAME: &[u8] = b"Xen";

/// The most bytes that are read of a file: more than any kernel or initrd has.
const MOST_BYTES: u64 = 4 << 30;

/// An error about a file.
pub(super) fn refusal(path: &Path, problem: impl Into<String>) -> Error {
    Error::KernelImage { path: path.to_owned(), problem: problem.into() }
}

/// Reads a whole file, which is the `part` of what is booted.
pub(super) fn read(path: &Path, part: &str) -> Result<Vec<u8>> {
    let refuse = |error: std::io::Error| refusal(path, format!("the {part} cannot be read: {error}"));
    // Opening a pipe would wait for its writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(refuse)?;
    let metadata = file.metadata().map_err(refuse)?;
    if !metadata.is_file() {
        return Err(refusal(path, format!("the {part} is not a regular file")));
    }
    if metadata.len() == 0 {
        return Err(refusal(path, format!("the {part} is empty")));
    }
    if metadata.len() > MOST_BYTES {
        return Err(refusal(path, format!("{} bytes are more than any {part} has", metadata.len())));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}

/// Plans the loading of an ELF; where it is entered: by PVH, or on arm64 at its entry point.
pub(super) fn plan<'a>(elf: &'a [u8], path: &Path, plan: &mut Plan<'a>) -> Result<u64> {
    if elf.len() < 4 || !elf.starts_with(&elf::abi::ELFMAGIC) {
        return Err(refusal(path, format!("neither an ELF file nor {IMAGE}")));
    }
    let broken = |error: elf::ParseError| refusal(path, format!("truncated or damaged: {error}"));
    let file = ElfBytes::<LittleEndian>::minimal_parse(elf).map_err(broken)?;
    let segments = file.segments().ok_or_else(|| refusal(path, "it has no program headers, so nothing to load"))?;
    let mut loaded = Vec::new();
    for segment in segments.iter() {
        if segment.p_type == PT_LOAD && segment.p_memsz > 0 {
            let bytes = file.segment_data(&segment).map_err(|_| refusal(path, "truncated: a segment is cut off"))?;
            let rest = segment.p_memsz.checked_sub(segment.p_filesz);
            let (Some(rest), Some(end)) = (rest, segment.p_paddr.checked_add(segment.p_memsz)) else {
                return Err(refusal(path, "damaged: a segment's sizes contradict each other"));
            };
            plan.write(segment.p_paddr, bytes);
            plan.zero(segment.p_paddr + segment.p_filesz, rest);
            loaded.push(segment.p_paddr..end);
        }
    }
    if loaded.is_empty() {
        return Err(refusal(path, "it has nothing to load"));
    }
    let entry = entry(&file, path)?;
    if !loaded.iter().any(|segment| segment.contains(&entry)) {
        return Err(refusal(path, format!("its {ENTRY}, {entry:#x}, is in none of its segments")));
    }
    Ok(entry)
}

/// What errors call a kernel that is no ELF.
const IMAGE: &str = if cfg!(target_arch = "x86_64") { "a bzImage" } else { "an Image" };
/// What errors call the entry.
const ENTRY: &str = if cfg!(target_arch = "x86_64") { "PVH entry" } else { "entry point" };

#[cfg(target_arch = "aarch64")]
fn entry(file: &ElfBytes<'_, LittleEndian>, path: &Path) -> Result<u64> {
    match file.ehdr.e_machine {
        EM_AARCH64 => Ok(file.ehdr.e_entry),
        other => Err(refusal(path, format!("not an ELF for arm64: its machine is {other}"))),
    }
}

#[cfg(target_arch = "x86_64")]
fn entry(file: &ElfBytes<'_, LittleEndian>, path: &Path) -> Result<u64> {
    let notes = file.segments().into_iter().flatten().filter(|segment| segment.p_type == PT_NOTE);
    for segment in notes {
        let notes = file.segment_data_as_notes(&segment);
        let notes = notes.map_err(|error| refusal(path, format!("truncated or damaged: {error}")))?;
        if let Some(entry) = pvh_entry(notes) {
            return Ok(entry);
        }
    }
    let text = "no PVH entry (note XEN_ELFNOTE_PHYS32_ENTRY): build Linux with CONFIG_PVH=y";
    Err(refusal(path, text))
}

#[cfg(target_arch = "x86_64")]
fn pvh_entry<'a>(notes: impl Iterator<Item = Note<'a>>) -> Option<u64> {
    notes.into_iter().find_map(|note| match note {
        Note::Unknown(note)
            if note.n_type == XEN_ELFNOTE_PHYS32_ENTRY
                && note.name.strip_suffix(b"\0").unwrap_or(note.name) == XEN_NOTE_NAME =>
        {
            // Four bytes or eight, by the word size of whoever wrote it; the entry is a 32-bit one.
            let low = note.desc.first_chunk::<4>().map(|low| u32::from_le_bytes(*low))?;
            Some(low.into())
        }
        _ => None,
    })
}
