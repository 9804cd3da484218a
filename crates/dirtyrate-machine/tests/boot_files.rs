//! The cost of booting a file depends on the bytes that it really has, and not on what its headers say. And guest
//! memory belongs to this process alone.

mod support;

use std::fs::File;
use std::path::Path;

use dirtyrate::{CancelToken, Error};
use dirtyrate_machine::workload::{Kind, Pacing};
use dirtyrate_machine::{KernelOptions, Machine, UnknownMmio};
use support::*;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// What an architecture calls itself in an ELF.
const MACHINE: u8 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
/// Where the kernels here are, from the start of RAM.
const ENTRY: u64 = 2 * MIB;
/// How many pages a load may take beside the pages of the file's bytes: at most one at each end of each piece, and the
/// boot parameters.
const PAGES_BESIDE: u64 = 64;

/// A program header.
#[derive(Clone, Copy)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    file_bytes: u64,
    memory_bytes: u64,
    alignment: u64,
}

/// An ELF with these segments, entered at the first one, and `data` behind its headers.
fn elf(segments: &[Segment], data: &[u8]) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    elf[16..20].copy_from_slice(&[2, 0, MACHINE, 0]);
    elf[20] = 1;
    elf[24..32].copy_from_slice(&ENTRY.to_le_bytes());
    elf[32] = 64;
    elf[52..56].copy_from_slice(&[64, 0, 56, 0]);
    elf[56..58].copy_from_slice(&(segments.len() as u16).to_le_bytes());
    for segment in segments {
        elf.extend(segment.kind.to_le_bytes());
        elf.extend(7u32.to_le_bytes());
        let Segment { offset, address, file_bytes, memory_bytes, alignment, .. } = *segment;
        for word in [offset, address, address, file_bytes, memory_bytes, alignment] {
            elf.extend(word.to_le_bytes());
        }
    }
    elf.extend(data);
    elf
}

fn note(name: &[u8], kind: u32, descriptor: &[u8]) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [name.len() as u32, descriptor.len() as u32, kind] {
        note.extend(word.to_le_bytes());
    }
    note.extend(name);
    note.resize(note.len().next_multiple_of(4), 0);
    note.extend(descriptor);
    note.resize(note.len().next_multiple_of(4), 0);
    note
}

/// Xen's note with the entry of PVH, in four bytes: 20 bytes in all.
fn pvh() -> Vec<u8> {
    note(b"Xen\0", 18, &(ENTRY as u32).to_le_bytes())
}

/// An ELF that is entered at its first segment: `loads` are the place of each in memory, its bytes in the file, which
/// are all its `code`, and its bytes in memory.
fn kernel_of(loads: &[(u64, u64, u64)], code: &[u8], notes: &[u8], alignment: u64) -> Vec<u8> {
    let code_at = 64 + 56 * (loads.len() as u64 + 1);
    let mut segments: Vec<_> = loads
        .iter()
        .map(|&(address, file_bytes, memory_bytes)| Segment {
            kind: PT_LOAD,
            offset: code_at,
            address,
            file_bytes,
            memory_bytes,
            alignment: 4,
        })
        .collect();
    let (offset, file_bytes) = (code_at + code.len() as u64, notes.len() as u64);
    segments.push(Segment { kind: PT_NOTE, offset, address: 0, file_bytes, memory_bytes: 0, alignment });
    elf(&segments, &[code, notes].concat())
}

/// Code that waits for ever: hlt, or wfi and a branch back to it.
fn halt() -> Vec<u8> {
    if cfg!(target_arch = "x86_64") {
        vec![0xf4, 0xeb, 0xfd, 0x90]
    } else {
        [0xd503_207fu32.to_le_bytes(), 0x17ff_ffffu32.to_le_bytes()].concat()
    }
}

fn load(machine: &Machine, kernel: &Path, initrd: Option<&Path>) -> Result<(), Error> {
    let (kernel, initrd) = (kernel.to_owned(), initrd.map(Path::to_owned));
    machine.load_kernel(&KernelOptions { kernel, initrd, cmdline: String::new() }, &CancelToken::new())
}

/// A machine with more RAM than this host would like to touch.
fn large() -> Machine {
    machine(vec![block("ram", 0, 15 * (GIB / 4) / page_size())], 1)
}

/// The line of /proc/self/smaps that begins with `field`, of the mapping that has this guest address.
fn smaps(machine: &Machine, guest_address: u64, field: &str) -> String {
    let host = machine.vm().memory().get_host_address(GuestAddress(guest_address)).expect("RAM").addr();
    let smaps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
    let mut in_it = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().unwrap_or_default().split_once('-');
        let parse = |text: &str| usize::from_str_radix(text, 16).ok();
        if let Some((Some(start), Some(end))) = range.map(|(start, end)| (parse(start), parse(end))) {
            in_it = (start..end).contains(&host);
        } else if in_it && line.starts_with(field) {
            return line.to_owned();
        }
    }
    panic!("no {field} for guest memory")
}

/// Bytes of guest memory that the host has given pages for. The pages are looked at one by one, because the kernel
/// joins neighbouring mappings: smaps may add the guest memory of the tests that run beside this one.
fn resident(machine: &Machine) -> u64 {
    use std::os::unix::fs::FileExt;
    const PRESENT_OR_SWAPPED: u64 = 0b11 << 62;
    let pagemap = File::open("/proc/self/pagemap").expect("pagemap");
    let memory = machine.vm().memory();
    let pages = memory.iter().map(|region| {
        let first_page = region.as_ptr().addr() as u64 / page_size();
        let mut entries = vec![0; (region.len() / page_size()) as usize * 8];
        pagemap.read_exact_at(&mut entries, first_page * 8).expect("an entry for each page");
        let word = |entry: &[u8]| u64::from_le_bytes(entry.try_into().expect("eight bytes"));
        entries.chunks(8).filter(|entry| word(entry) & PRESENT_OR_SWAPPED != 0).count() as u64
    });
    pages.sum::<u64>() * page_size()
}

fn assert_costs(machine: &Machine, file_bytes: u64, context: &str) {
    let (found, most) = (resident(machine), file_bytes + PAGES_BESIDE * page_size());
    assert!(found <= most, "{context}: {found} bytes of guest memory are resident, and at most {most} may be");
}

#[test]
fn memory_that_a_file_only_names_is_not_touched() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("boot-bss");
    let machine = large();
    // Earlier contents are zero afterwards all the same, in whole pages and in parts of pages.
    machine.vm().write_memory(ENTRY + 2, &vec![0xff; 3 * page_size() as usize]).expect("RAM");
    let end = ENTRY + 3 * GIB;
    machine.vm().write_memory(end - 3, &[0xff; 6]).expect("RAM");
    let elf = kernel_of(&[(ENTRY, 4, 3 * GIB)], &halt(), &pvh(), 4);
    load(&machine, &folder.file("kernel", &elf), None).expect("it loads");
    assert_costs(&machine, elf.len() as u64, "3 GiB of zeros");
    let mut bytes = vec![1; 4 * page_size() as usize];
    machine.vm().read_memory(ENTRY, &mut bytes).expect("RAM");
    assert!(bytes.starts_with(&halt()[..4]) && bytes[4..].iter().all(|&byte| byte == 0));
    let mut edge = [1; 6];
    machine.vm().read_memory(end - 3, &mut edge).expect("RAM");
    assert_eq!(edge, [0, 0, 0, 0xff, 0xff, 0xff], "what is behind the zeros stays");
    machine.start(&CancelToken::new()).expect("it starts");
}

#[test]
fn a_file_with_more_segments_than_a_kernel_has_is_refused() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("boot-segments");
    let machine = large();
    let many = |segments: u64| {
        let loads: Vec<_> = (0..segments).map(|_| (ENTRY, 4, 3 * GIB)).collect();
        kernel_of(&loads, &halt(), &pvh(), 4)
    };
    let refused = refusal(load(&machine, &folder.file("many", &many(65_533)), None));
    assert!(refused.contains("65534 segments, and a kernel has at most 256"), "{refused}");
    let overlapping = refusal(load(&machine, &folder.file("overlapping", &many(3)), None));
    assert!(overlapping.contains("two of its segments have bytes for the address 0x200000"), "{overlapping}");
    // Each of these has all of the file, somewhere else.
    let all: Vec<_> = (0..9).map(|number| (ENTRY + number * MIB, 4 + 200, 4 + 200)).collect();
    let repeated = refusal(load(
        &machine,
        &folder.file("repeated", &kernel_of(&all, &halt(), &[pvh(), vec![0; 180]].concat(), 4)),
        None,
    ));
    assert!(repeated.contains("its segments have 1836 bytes together, and the file has"), "{repeated}");
    assert_eq!(resident(&machine), 0, "nothing was written");
    // Zeros over each other are no bytes at all.
    let zeros: Vec<_> = (0..200).map(|number| (ENTRY, if number == 0 { 4 } else { 0 }, 3 * GIB)).collect();
    let elf = kernel_of(&zeros, &halt(), &pvh(), 4);
    load(&machine, &folder.file("zeros", &elf), None).expect("it loads");
    assert_costs(&machine, elf.len() as u64, "200 times 3 GiB of zeros");
}

#[test]
fn holes_of_a_file_take_no_memory() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("boot-sparse");
    let machine = large();
    let nothing = folder.sparse("nothing", b"x", 4 * GIB);
    let text = refusal(load(&machine, &nothing, None));
    assert!(text.contains("neither an ELF file nor"), "{text}");
    let kernel = folder.file("kernel", &kernel_of(&[(ENTRY, 4, 4)], &halt(), &pvh(), 4));
    let text = refusal(load(&machine, &kernel, Some(&nothing)));
    assert!(text.contains("4294967296 bytes do not fit"), "{text}");
    assert_eq!(resident(&machine), 0, "nothing was written");
    // What is stored of it is at its beginning and somewhere in it.
    let initrd = folder.sparse("initrd", &[7; 5000], 2 * GIB);
    let file = File::options().write(true).open(&initrd).expect("the file");
    std::os::unix::fs::FileExt::write_all_at(&file, &[9; 3], GIB + 1).expect("written");
    load(&machine, &kernel, Some(&initrd)).expect("it loads");
    assert_costs(&machine, 5003, "2 GiB of holes");
    let start = if cfg!(target_arch = "x86_64") { 3 * GIB - 2 * GIB } else { 4 * MIB };
    let mut bytes = [0; 5];
    machine.vm().read_memory(start + GIB - 1, &mut bytes).expect("RAM");
    assert_eq!(bytes, [0, 0, 9, 9, 9]);
    machine.vm().read_memory(start + 4998, &mut bytes).expect("RAM");
    assert_eq!(bytes, [7, 7, 0, 0, 0]);
}

#[test]
fn a_command_line_or_a_name_of_megabytes_is_refused_before_a_file_is_looked_at() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, 8192)], 1);
    let load = |kernel: String, cmdline: String| {
        machine.load_kernel(&KernelOptions { kernel: kernel.into(), initrd: None, cmdline }, &CancelToken::new())
    };
    let text = refusal(load("/absent".to_owned(), "x".repeat(4 << 20)));
    assert!(text.contains("a command line of 4194304 bytes: this kernel takes less than 2048 bytes"), "{text}");
    let text = refusal(load("/absent".to_owned(), "a\0b".to_owned()));
    assert!(text.contains("has a NUL in it"), "{text}");
    let text = refusal(load("x".repeat(1 << 20), String::new()));
    assert!(text.contains("a name of 1048576 bytes") && text.len() < 200, "{text}");
}

#[test]
fn a_load_that_is_cancelled_before_it_copies_leaves_memory_as_it_was() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("boot-cancel");
    let kernel = folder.file("kernel", &kernel_of(&[(ENTRY, 4, 4)], &halt(), &pvh(), 4));
    let machine = machine(vec![block("ram", 0, 8192)], 1);
    let cancel = CancelToken::new();
    cancel.cancel();
    let options = KernelOptions { kernel: kernel.clone(), initrd: None, cmdline: String::new() };
    assert!(matches!(machine.load_kernel(&options, &cancel), Err(Error::Cancelled)));
    assert_eq!(resident(&machine), 0, "nothing was written");
    load(&machine, &kernel, None).expect("and it can be loaded again");
}

/// Changes of notes. On arm64 notes are not read.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_pvh_note_is_found_whatever_its_segment_says_of_alignment() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("boot-notes");
    // Five bytes of descriptor in the first: 21 bytes, and 24 with their padding.
    let notes = [note(b"Xen\0", 6, b"2.6\0\0"), note(b"GNU\0", 3, &[1; 20]), pvh()].concat();
    let twenty = [note(b"Xen\0", 5, b"xen\0"), pvh()].concat();
    for alignment in [0, 1, 4, 8, 16, 4096] {
        for notes in [&notes, &twenty] {
            let kernel = folder.file("kernel", &kernel_of(&[(ENTRY, 4, 4)], &halt(), notes, alignment));
            let machine = machine(vec![block("ram", 0, 8192)], 1);
            load(&machine, &kernel, None).unwrap_or_else(|error| panic!("alignment {alignment}: {error}"));
        }
    }
}

#[test]
fn a_kernel_that_looks_for_a_device_lives_unless_it_was_asked_otherwise() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("boot-mmio");
    // A read of 4 bytes at 0xfed803c0, as of Linux on AMD processors, or on arm64 of 0xe0000000; what was read goes to
    // 0x300000.
    let code: Vec<u8> = if cfg!(target_arch = "x86_64") {
        // mov eax, [0xfed803c0]; mov [0x300000], eax; hlt; jmp to it
        vec![0xa1, 0xc0, 0x03, 0xd8, 0xfe, 0xa3, 0, 0, 0x30, 0, 0xf4, 0xeb, 0xfd]
    } else {
        // mov x0, #0xe0000000; ldr w1, [x0]; mov x2, #0x300000; str w1, [x2]; wfi; b to it
        [0xd2bc_0000u32, 0xb940_0001, 0xd2a0_0602, 0xb900_0041, 0xd503_207f, 0x17ff_ffff]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect()
    };
    let kernel = folder.file("kernel", &kernel_of(&[(ENTRY, code.len() as u64, 64)], &code, &pvh(), 4));
    let start = |unknown_mmio| {
        let mut options = options(vec![block("ram", 0, 8192)], 1);
        options.unknown_mmio = unknown_mmio;
        let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
        load(&machine, &kernel, None).expect("it loads");
        machine.start(&CancelToken::new()).expect("it starts");
        machine
    };
    let machine = start(UnknownMmio::Auto);
    let mut read = [0; 4];
    while read == [0; 4] {
        assert!(machine.crash().is_none(), "{:?}", machine.crash());
        machine.vm().read_memory(3 * MIB, &mut read).expect("RAM");
    }
    assert_eq!(read, [0xff; 4]);
    let machine = start(UnknownMmio::Stop);
    while machine.crash().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn a_built_in_guest_that_writes_where_nothing_is_crashes_unless_it_was_asked_otherwise() {
    if !kvm() {
        return;
    }
    let mut options = options(vec![block("ram", 0, 8192), block("gone", GIB, 64)], 1);
    options.unknown_mmio = UnknownMmio::Auto;
    let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
    run(&machine, &workload(Kind::Stride, 100, 1, Pacing::Free));
    machine.vm().remove_block("gone").expect("a block");
    while machine.crash().is_none() {
        std::thread::yield_now();
    }
}

/// The memory map that a PVH kernel gets.
#[cfg(target_arch = "x86_64")]
#[test]
fn what_a_pvh_kernel_was_given_is_not_ram_in_its_memory_map() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("boot-map");
    let kernel = folder.file("kernel", &kernel_of(&[(ENTRY, 4, 4)], &halt(), &pvh(), 4));
    let initrd = folder.file("initrd", &[7; 5000]);
    let machine = machine(vec![block("ram", 0, 8192), block("high", 4 * GIB, 5)], 2);
    load(&machine, &kernel, Some(&initrd)).expect("it loads");
    let bytes = |at: u64, count: usize| {
        let mut bytes = vec![0; count];
        machine.vm().read_memory(at, &mut bytes).expect("RAM");
        bytes
    };
    let long = |at: u64| u64::from_le_bytes(bytes(at, 8).try_into().expect("8 bytes"));
    let word = |at: u64| u32::from_le_bytes(bytes(at, 4).try_into().expect("4 bytes"));
    // `hvm_start_info` is at a page of its own below 1 MiB.
    let start_info = (1..256).map(|page| page * 4096).find(|&at| word(at) == 0x336e_c578).expect("the start info");
    let (modules, cmdline, rsdp, map) =
        (long(start_info + 16), long(start_info + 24), long(start_info + 32), long(start_info + 40));
    let module = long(modules);
    let entries: Vec<_> = (0..u64::from(word(start_info + 48)))
        .map(|entry| map + entry * 24)
        .map(|at| (long(at), long(at + 8), word(at + 16)))
        .collect();
    let kind_of = |address: u64| {
        let mut kinds = entries.iter().filter(|(start, bytes, _)| (*start..start + bytes).contains(&address));
        let kind = kinds.next().map(|entry| entry.2);
        assert!(kinds.next().is_none(), "{address:#x} is in two entries of {entries:x?}");
        kind
    };
    for (what, address, kind) in [
        ("the start info", start_info, 2),
        ("the modules' list", modules, 2),
        ("the map", map, 2),
        ("the command line", cmdline, 2),
        ("the initrd", module, 2),
        ("the initrd's end", module + 4999, 2),
        ("the ACPI tables", rsdp, 3),
        ("the kernel", ENTRY, 1),
        ("the first page", 0, 1),
        ("what is above", 4 * GIB, 1),
    ] {
        assert_eq!(kind_of(address), Some(kind), "{what} at {address:#x} in {entries:x?}");
    }
    assert_eq!(entries.iter().map(|entry| entry.1).sum::<u64>(), (8192 + 5) * page_size(), "all of RAM is told");
}

#[test]
fn a_child_process_has_no_guest_memory_and_no_core_file_either() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("ram", 0, 8192)], 1);
    machine.vm().write_memory(0, &vec![1; 8 * MIB as usize]).expect("RAM");
    let flags = smaps(&machine, 0, "VmFlags:");
    let flags: Vec<_> = flags.split_whitespace().collect();
    for (flag, meaning) in [("dc", "not in a child"), ("dd", "not in a core file")] {
        assert!(flags.contains(&flag), "{meaning}: {flags:?}");
    }
    let host = machine.vm().memory().get_host_address(GuestAddress(0)).expect("RAM");
    // SAFETY: between the fork and its end the child makes two system calls, and touches no memory but its stack.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let mut there = 0;
        // SAFETY: the kernel writes one byte, for the one page that is asked about; it says of an address that is not
        // mapped that it is not.
        let found = unsafe { libc::mincore(host.cast(), 1, &raw mut there) };
        // SAFETY: this ends the child without anything of the parent's being run in it.
        unsafe { libc::_exit(if found == 0 { 1 } else { 0 }) };
    }
    let mut status = 0;
    // SAFETY: the child is this process's, and the status is written to the variable.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "guest memory is mapped in the child");
}
