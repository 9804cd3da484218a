//! Plans the loading of an ELF: which of its bytes go where, and at which address it is entered. This reads only the
//! headers and the notes.
//!
//! The crate linux-loader can load an ELF too. But it looks for the PVH entry only in the last note segment, does not
//! zero BSS, and writes part of the kernel before it finds that the rest is bad.

#[cfg(target_arch = "aarch64")]
use elf::abi::EM_AARCH64 as MACHINE;
#[cfg(target_arch = "x86_64")]
use elf::abi::EM_X86_64 as MACHINE;
#[cfg(target_arch = "x86_64")]
use elf::abi::PT_NOTE;
use elf::abi::{EM_386, EM_AARCH64, EM_X86_64, ET_CORE, ET_REL, PT_LOAD};
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
#[cfg(target_arch = "x86_64")]
use elf::note::{Note, NoteIterator};
use elf::segment::{ProgramHeader, SegmentTable};

use super::file::BootFile;
use super::plan::Plan;
use dirtyrate::Result;

/// The note whose descriptor is the 32-bit entry of PVH (Xen, public/elfnote.h).
#[cfg(target_arch = "x86_64")]
const XEN_ELFNOTE_PHYS32_ENTRY: u64 = 18;
#[cfg(target_arch = "x86_64")]
const XEN_NOTE_NAME: &[u8] = b"Xen";
/// Notes are padded to this many bytes. An ELF for 64-bit machines should pad them to 8 bytes, but kernels pad to 4
/// (Linux, include/linux/elfnote.h), whatever their `p_align` says.
#[cfg(target_arch = "x86_64")]
const NOTE_PADDING: usize = 4;
/// How many bytes of notes are read at most. A kernel has a few hundred.
#[cfg(target_arch = "x86_64")]
const MOST_NOTE_BYTES: u64 = 64 << 10;

/// How many segments a kernel may have. A kernel has about ten, and each takes at least a page of the guest.
const MOST_SEGMENTS: u16 = 256;

/// The first bytes of an ELF.
pub(super) const MAGIC: &[u8] = &elf::abi::ELFMAGIC;

/// The name of the entry in errors.
const ENTRY: &str = if cfg!(target_arch = "x86_64") { "PVH entry" } else { "entry point" };

/// The headers of an ELF.
struct Headers {
    file: FileHeader<LittleEndian>,
    segments: Vec<ProgramHeader>,
}

/// Plans the loading of an ELF. Returns the address at which it is entered: its PVH entry, or on arm64 its entry point.
pub(super) fn plan<'a>(file: &'a BootFile<'a>, plan: &mut Plan<'a>) -> Result<u64> {
    let headers = headers(file)?;
    let mut loaded = Vec::new();
    let mut bytes = 0_u64;
    for segment in headers.segments.iter().filter(|segment| segment.p_type == PT_LOAD && segment.p_memsz > 0) {
        check_in_file(file, segment)?;
        let rest = segment.p_memsz.checked_sub(segment.p_filesz);
        let (Some(rest), Some(end)) = (rest, segment.p_paddr.checked_add(segment.p_memsz)) else {
            return Err(file.refusal("damaged: a segment's sizes contradict each other"));
        };
        bytes = bytes.saturating_add(segment.p_filesz);
        plan.write_file(segment.p_paddr, file, segment.p_offset, segment.p_filesz);
        plan.zero(segment.p_paddr + segment.p_filesz, rest);
        loaded.push(segment.p_paddr..end);
    }
    if loaded.is_empty() {
        return Err(file.refusal("it has nothing to load"));
    }
    if bytes > file.length() {
        let text = format!("damaged: its segments have {bytes} bytes together, and the file has {}", file.length());
        return Err(file.refusal(text));
    }
    if let Some(address) = plan.overlap() {
        return Err(file.refusal(format!("damaged: two of its segments have bytes for the address {address:#x}")));
    }
    let entry = entry(file, &headers)?;
    if !loaded.iter().any(|segment| segment.contains(&entry)) {
        return Err(file.refusal(format!("its {ENTRY}, {entry:#x}, is in none of its segments")));
    }
    Ok(entry)
}

fn headers(file: &BootFile) -> Result<Headers> {
    let broken = |error: elf::ParseError| file.refusal(format!("truncated or damaged: {error}"));
    // `head` has the beginning of the file, which is longer than a header, or the whole of a shorter file.
    let head = file.head();
    let identity = head.get(..elf::abi::EI_NIDENT).ok_or_else(|| file.refusal("truncated: its header is cut off"))?;
    let identity = parse_ident::<LittleEndian>(identity).map_err(broken)?;
    let class = identity.1;
    let header = FileHeader::parse_tail(identity, &head[elf::abi::EI_NIDENT..]).map_err(broken)?;
    check_kind(file, &header)?;
    let size = match class {
        Class::ELF32 => 32,
        Class::ELF64 => 56,
    };
    let count = header.e_phnum;
    if count == 0 {
        return Err(file.refusal("it has no program headers, so nothing to load"));
    }
    if count > MOST_SEGMENTS {
        return Err(file.refusal(format!("it has {count} segments, and a kernel has at most {MOST_SEGMENTS}")));
    }
    if usize::from(header.e_phentsize) != size {
        let text = format!("damaged: its program headers have {} bytes in place of {size}", header.e_phentsize);
        return Err(file.refusal(text));
    }
    let table = file.read(header.e_phoff, u64::from(count) * size as u64)?;
    let segments = SegmentTable::new(header.endianness, class, &table).iter().collect();
    Ok(Headers { file: header, segments })
}

/// Refuses an ELF that is no program for this architecture.
fn check_kind(file: &BootFile, header: &FileHeader<LittleEndian>) -> Result<()> {
    let machine = header.e_machine;
    // A kernel for PVH is entered in 32-bit mode, so it may be of either kind.
    if machine != MACHINE && !(MACHINE == EM_X86_64 && machine == EM_386) {
        let this = if MACHINE == EM_X86_64 { "x86-64" } else { "arm64" };
        let found = match machine {
            EM_X86_64 => "it is for x86-64".to_owned(),
            EM_AARCH64 => "it is for arm64".to_owned(),
            other => format!("its machine is {other}"),
        };
        return Err(file.refusal(format!("not an ELF for {this}: {found}, and this machine is {this}")));
    }
    match header.e_type {
        ET_CORE => Err(file.refusal("a core file, which is no kernel")),
        ET_REL => Err(file.refusal("an object file, or a kernel module: give the kernel")),
        _ => Ok(()),
    }
}

fn check_in_file(file: &BootFile, segment: &ProgramHeader) -> Result<()> {
    let end = segment.p_offset.checked_add(segment.p_filesz);
    if end.is_some_and(|end| end <= file.length()) {
        return Ok(());
    }
    Err(file.refusal("truncated: a segment is cut off"))
}

#[cfg(target_arch = "aarch64")]
fn entry(_: &BootFile, headers: &Headers) -> Result<u64> {
    Ok(headers.file.e_entry)
}

#[cfg(target_arch = "x86_64")]
fn entry(file: &BootFile, headers: &Headers) -> Result<u64> {
    let mut looked_at = 0;
    for segment in headers.segments.iter().filter(|segment| segment.p_type == PT_NOTE) {
        check_in_file(file, segment)?;
        looked_at += segment.p_filesz.min(MOST_NOTE_BYTES);
        if looked_at > MOST_NOTE_BYTES {
            break;
        }
        let notes = file.read(segment.p_offset, segment.p_filesz.min(MOST_NOTE_BYTES))?;
        if let Some(entry) = pvh_entry(headers, &notes) {
            return Ok(entry);
        }
    }
    let text = "it has no PVH entry: build Linux with CONFIG_PVH=y, or give its bzImage";
    Err(file.refusal(text))
}

#[cfg(target_arch = "x86_64")]
fn pvh_entry(headers: &Headers, notes: &[u8]) -> Option<u64> {
    let FileHeader { endianness, class, .. } = headers.file;
    NoteIterator::new(endianness, class, NOTE_PADDING, notes).find_map(|note| match note {
        Note::Unknown(note)
            if note.n_type == XEN_ELFNOTE_PHYS32_ENTRY
                && note.name.strip_suffix(b"\0").unwrap_or(note.name) == XEN_NOTE_NAME =>
        {
            // The descriptor has four or eight bytes, depending on the word size of the tool that wrote it. The entry
            // itself has 32 bits.
            let low = note.desc.first_chunk::<4>().map(|low| u32::from_le_bytes(*low))?;
            Some(low.into())
        }
        _ => None,
    })
}
