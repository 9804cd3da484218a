//! The boot of a Linux bzImage: which boot parameters it gets, and for which reasons a file is refused. The kernel here
//! is a few instructions behind the header of one; a whole Linux boots in the rigs (`__test__/rig/linux.rig.ts`).
//!
//! x86-64 only: no other architecture has a bzImage.

#![cfg(target_arch = "x86_64")]

mod support;

use std::path::Path;

use dirtyrate::{CancelToken, Error};
use dirtyrate_machine::vcpu::RunState;
use dirtyrate_machine::{KernelOptions, Machine};
use support::{Folder, MIB, block, kvm, machine, page_size};

/// Where the kernel is entered, and where its instructions leave the address of `boot_params`.
const ENTRY: u32 = MIB as u32;
const LEFT: u64 = 2 * MIB;

/// Says on the serial port how many ranges of RAM there are, whether there is a hypervisor, the command line, and the
/// initrd; then resets the machine by the keyboard controller.
#[rustfmt::skip]
const KERNEL: [u8; 97] = [
    0xb8, 0x18, 0x00, 0x00, 0x00,             // mov eax, 0x18
    0x8e, 0xd8,                               // mov ds, eax
    0xea, 0x0e, 0x00, 0x10, 0x00, 0x10, 0x00, // jmp 0x10:0x10000e, which is next
    0x89, 0x35, 0x00, 0x00, 0x20, 0x00,       // next: mov [0x200000], esi
    0xb8, 0x01, 0x00, 0x00, 0x00,             // mov eax, 1
    0x0f, 0xa2,                               // cpuid
    0xba, 0xf8, 0x03, 0x00, 0x00,             // mov edx, 0x3f8
    0x8a, 0x86, 0xe8, 0x01, 0x00, 0x00,       // mov al, [esi + 0x1e8]: e820_entries
    0x04, 0x30,                               // add al, '0'
    0xee,                                     // out dx, al
    0xc1, 0xe9, 0x1f,                         // shr ecx, 31
    0x88, 0xc8,                               // mov al, cl
    0x04, 0x30,                               // add al, '0'
    0xee,                                     // out dx, al
    0x8b, 0x9e, 0x28, 0x02, 0x00, 0x00,       // mov ebx, [esi + 0x228]: cmd_line_ptr
    0x8a, 0x03,                               // line: mov al, [ebx]
    0x84, 0xc0,                               // test al, al
    0x74, 0x04,                               // jz initrd
    0xee,                                     // out dx, al
    0x43,                                     // inc ebx
    0xeb, 0xf6,                               // jmp line
    0x8b, 0x9e, 0x18, 0x02, 0x00, 0x00,       // initrd: mov ebx, [esi + 0x218]: ramdisk_image
    0x8b, 0x8e, 0x1c, 0x02, 0x00, 0x00,       // mov ecx, [esi + 0x21c]: ramdisk_size
    0x8a, 0x03,                               // byte: mov al, [ebx]
    0xee,                                     // out dx, al
    0x43,                                     // inc ebx
    0x49,                                     // dec ecx
    0x75, 0xf9,                               // jnz byte
    0xe4, 0x64,                               // full: in al, 0x64
    0xa8, 0x02,                               // test al, 2: its input buffer is full
    0x75, 0xfa,                               // jnz full
    0xb0, 0xfe,                               // mov al, 0xfe
    0xe6, 0x64,                               // out 0x64, al
    0xf4,                                     // hlt
    0xeb, 0xfd,                               // jmp back to it
];

/// Fields of a header (Documentation/arch/x86/boot.rst), by their place in the file and their bytes.
fn image(fields: &[(usize, &[u8])]) -> Vec<u8> {
    image_of(&KERNEL, fields)
}

fn image_of(kernel: &[u8], fields: &[(usize, &[u8])]) -> Vec<u8> {
    // No number of sectors means four before the kernel, and one is always there.
    let mut image = vec![0; 5 * 512];
    let usual: [(usize, &[u8]); 8] = [
        (0x1f4, &(kernel.len() as u32).div_ceil(16).to_le_bytes()), // syssize
        (0x201, &[0x6a]),                                           // the header's end
        (0x202, b"HdrS"),
        (0x206, &0x020f_u16.to_le_bytes()),      // version
        (0x211, &[1]),                           // loadflags: LOADED_HIGH
        (0x214, &ENTRY.to_le_bytes()),           // code32_start
        (0x22c, &0x7fff_ffff_u32.to_le_bytes()), // initrd_addr_max
        (0x238, &99_u32.to_le_bytes()),          // cmdline_size
    ];
    for (at, bytes) in usual.iter().chain(fields) {
        image[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    image.extend(kernel);
    image
}

fn load(machine: &Machine, kernel: &Path, initrd: Option<&Path>, cmdline: &str) -> Result<(), Error> {
    let (kernel, initrd) = (kernel.to_owned(), initrd.map(Path::to_owned));
    machine.load_kernel(&KernelOptions { kernel, initrd, cmdline: cmdline.to_owned() }, &CancelToken::new())
}

#[test]
fn a_bzimage_gets_ram_command_line_and_initrd_and_its_reset_ends_the_machine() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("bzimage");
    let (kernel, initrd) = (folder.file("vmlinuz", &image(&[])), folder.file("initrd", b"and the initrd"));
    // An odd size, in two blocks.
    let (low, high) = (32 * MIB + 3 * page_size(), 5 * page_size());
    let machine = machine(vec![block("low", 0, low / page_size()), block("high", 4096 * MIB, high / page_size())], 2);
    // The longest that this kernel reads.
    let cmdline = format!("console=ttyS0 {}", "x".repeat(99 - 14));
    load(&machine, &kernel, Some(&initrd), &cmdline).expect("it loads");
    machine.start(&CancelToken::new()).expect("it starts");
    let mut said = String::new();
    while let Some(text) = machine.console().read(&CancelToken::new()).expect("not cancelled") {
        said += &text;
    }
    assert_eq!(said, format!("81{cmdline}and the initrd"));
    assert_eq!(machine.state(), RunState::Shutdown);

    let mut word = [0; 4];
    machine.vm().read_memory(LEFT, &mut word).expect("RAM");
    let mut parameters = vec![0; page_size() as usize];
    machine.vm().read_memory(u32::from_le_bytes(word).into(), &mut parameters).expect("RAM");
    let number = |at: usize| u64::from_le_bytes(parameters[at..at + 8].try_into().expect("8 bytes"));
    let kind = |at: usize| u32::from_le_bytes(parameters[at..at + 4].try_into().expect("4 bytes"));
    let map: Vec<_> =
        (0..8).map(|entry| 0x2d0 + entry * 20).map(|at| (number(at), number(at + 8), kind(at + 16))).collect();
    // The memory of the boot parameters and of the ACPI tables is not RAM that the kernel may use.
    assert_eq!(
        map,
        [
            (0, 0x6000, 1),
            (0x6000, 0x2000, 2),
            (0x8000, 0x1_8000, 1),
            (0x2_0000, 0x1000, 2),
            (0x2_1000, (640 << 10) - 0x2_1000, 1),
            (0xe_0000, 0x1000, 3),
            (MIB, low - MIB, 1),
            (4096 * MIB, high, 1)
        ]
    );
}

/// Writes a word to the register that switches the machine off, if that says that it is in ACPI mode; and else, or if
/// it is still on, does what no kernel survives.
fn writes_to_pm1_control(word: u16) -> Vec<u8> {
    let [low, high] = word.to_le_bytes();
    #[rustfmt::skip]
    let code = [
        0x66, 0xba, 0x04, 0x06, // mov dx, 0x604
        0x66, 0xed,             // in ax, dx
        0xa8, 0x01,             // test al, 1: SCI_EN
        0x74, 0x06,             // jz dead
        0x66, 0xb8, low, high,  // mov ax, word
        0x66, 0xef,             // out dx, ax
        0x0f, 0x0b,             // dead: ud2
    ];
    code.to_vec()
}

#[test]
fn it_is_switched_off_as_its_acpi_tables_say() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("bzimage-off");
    // SLP_EN with SLP_TYP 5, as `\_S5` has it; without SLP_EN; with another type.
    for (word, end) in [(0x3400, RunState::Shutdown), (0x1400, RunState::Crashed), (0x3000, RunState::Crashed)] {
        let machine = machine(vec![block("ram", 0, 32 * MIB / page_size())], 3);
        let kernel = folder.file("vmlinuz", &image_of(&writes_to_pm1_control(word), &[]));
        load(&machine, &kernel, None, "").expect("it loads");
        let tables = {
            let mut bytes = vec![0; 0x1000];
            machine.vm().read_memory(0xe_0000, &mut bytes).expect("RAM");
            bytes
        };
        // They are where a kernel looks for them, with an APIC for each vCPU.
        assert!(tables.starts_with(b"RSD PTR "));
        let madt = tables.windows(4).position(|bytes| bytes == b"APIC").expect("a MADT");
        let apics = [[0, 8, 0, 0, 1, 0, 0, 0], [0, 8, 1, 1, 1, 0, 0, 0], [0, 8, 2, 2, 1, 0, 0, 0]].concat();
        assert_eq!(tables[madt + 44..madt + 44 + apics.len()], apics);
        machine.start(&CancelToken::new()).expect("it starts");
        while machine.console().read(&CancelToken::new()).expect("not cancelled").is_some() {}
        assert_eq!(machine.state(), end, "{word:#x}");
    }
}

#[test]
fn a_bzimage_that_cannot_be_booted_is_refused_with_the_reason() {
    if !kvm() {
        return;
    }
    let folder = Folder::new("bzimage-refused");
    let machine = machine(vec![block("ram", 0, 32 * MIB / page_size())], 1);
    let whole = image(&[]);
    let at_end_of_ram: &[u8] = &(31 * MIB).to_le_bytes();
    let cases = [
        ("old", image(&[(0x206, &[9, 2])]), "boot protocol, 0x0209, is older"),
        ("low", image(&[(0x211, &[0])]), "boot protocol, 0x020f, is older"),
        ("headless", whole[..0x210].to_vec(), "truncated: its header is cut off"),
        ("short", whole[..whole.len() - 16].to_vec(), "truncated: 81 bytes of a kernel of 112"),
        ("empty", whole[..5 * 512].to_vec(), "truncated: 0 bytes"),
        ("outside", image(&[(0x214, &[0, 0, 0, 0xe0])]), "larger than memory"),
        ("on-parameters", image(&[(0x214, &[0, 0x70, 0, 0])]), "where the boot parameters go"),
        // Where it unpacks itself to, and the bytes that it takes there.
        ("large", image(&[(0x258, at_end_of_ram), (0x260, &[1, 0, 0x10, 0])]), "larger than memory: 1048577 bytes"),
        ("around", image(&[(0x258, &[0xff; 8]), (0x260, &[2, 0, 0, 0])]), "wraps around"),
    ];
    let refused = |name: &str, kernel: &Path, initrd: Option<&Path>, cmdline: &str, expected: &str| {
        let error = load(&machine, kernel, initrd, cmdline).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}: {error}");
    };
    for (name, bytes, expected) in &cases {
        refused(name, &folder.file(name, bytes), None, "", expected);
    }
    let kernel = folder.file("vmlinuz", &whole);
    refused("a line", &kernel, None, &"x".repeat(100), "less than 100 bytes");
    refused("no file", &kernel, Some(&folder.0.join("absent")), "", "No such file");
    let huge = folder.file("initrd", b"");
    std::fs::File::create(&huge).and_then(|file| file.set_len(31 * MIB)).expect("a file");
    refused("an initrd", &kernel, Some(&huge), "", "do not fit");
    // It would fit, but not below the address up to which the kernel accepts an initrd.
    std::fs::File::create(&huge).and_then(|file| file.set_len(2 * MIB)).expect("a file");
    let near = folder.file("near", &image(&[(0x22c, &(2 * ENTRY).to_le_bytes())]));
    refused("a far initrd", &near, Some(&huge), "", "do not fit");

    let mut memory = vec![1; 32 * MIB as usize];
    machine.vm().read_memory(0, &mut memory).expect("RAM");
    assert!(memory.iter().all(|&byte| byte == 0), "nothing was written");
    load(&machine, &kernel, Some(&huge), "").expect("a good one");
}
