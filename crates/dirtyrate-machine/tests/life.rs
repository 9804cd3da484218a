//! The life of vCPU threads: any thread can start, hold, resume and end them, and their own end is reported.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dirtyrate::dirty_memory::Client;
use dirtyrate::{CancelToken, Error};
use dirtyrate_machine::MachineError;
use dirtyrate_machine::vcpu::{ExitHandler, RunState, Step};
use dirtyrate_machine::vm::BlockSpec;
use dirtyrate_machine::workload::{Kind, Pacing, RamRange, Workload};
use dirtyrate_machine::{KernelOptions, Machine, UnknownMmio};
use support::*;

fn ram() -> Vec<BlockSpec> {
    vec![block("ram", 0, 8192)]
}

#[test]
fn a_paused_guest_stands_still_whoever_pauses_it() {
    if !kvm() {
        return;
    }
    let machine = machine(ram(), 4);
    let guest = run(&machine, &workload(Kind::Stride, 500, 4, Pacing::Free));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Holds nest with pauses and with each other, from three threads at once.
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Acquire) {
                    machine
                        .vm()
                        .vcpus()
                        .expect("vCPUs")
                        .hold(|| {
                            let before = guest.counters();
                            std::thread::yield_now();
                            assert_eq!(guest.counters(), before, "held");
                        })
                        .expect("held");
                }
            });
        }
        let _end = EndsOnDrop(&ended);
        for _ in 0..200 {
            machine.pause().expect("paused");
            let before = guest.counters();
            std::thread::sleep(Duration::from_micros(100));
            assert_eq!(guest.counters(), before, "paused");
            assert_eq!(machine.state(), RunState::Paused);
            machine.resume().expect("resumed");
        }
    });
    let before = guest.counters().writes;
    while guest.counters().writes.iter().zip(&before).any(|(now, before)| now <= before) {
        machine.vm().vcpus().expect("vCPUs").check_running("measured").expect("every vCPU goes on");
        std::thread::yield_now();
    }
}

/// Devices whose calls take long.
#[derive(Default)]
struct SlowDevices {
    at_work: AtomicBool,
}

impl ExitHandler for SlowDevices {
    fn io_in(&self, _: u16, _: &mut [u8]) -> Step {
        Step::Continue
    }

    fn io_out(&self, _: u16, _: &[u8]) -> Step {
        self.at_work.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(3));
        self.at_work.store(false, Ordering::SeqCst);
        Step::Continue
    }

    fn mmio_read(&self, _: u64, _: &mut [u8]) -> Step {
        Step::Continue
    }

    /// Where there are no ports, an idle guest writes here.
    fn mmio_write(&self, _: u64, bytes: &[u8]) -> Step {
        self.io_out(0, bytes)
    }
}

/// Runs `round` 50 times on a running machine, each time while its vCPU is in a slow device.
fn with_a_vcpu_in_a_device(round: impl Fn(&Machine, &SlowDevices)) {
    let machine = machine(ram(), 1);
    // A guest without a budget says that it is idle all the time.
    machine.load_workload(&workload(Kind::Stride, 500, 1, Pacing::Granted), None).expect("it loads");
    let devices = Arc::new(SlowDevices::default());
    let vcpus = machine.vm().vcpus().expect("vCPUs");
    vcpus.start(&(Arc::clone(&devices) as Arc<dyn ExitHandler>)).expect("it starts");
    for _ in 0..50 {
        while !devices.at_work.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        round(&machine, &devices);
    }
}

#[test]
fn a_pause_waits_for_a_vcpu_that_is_in_a_device() {
    if !kvm() {
        return;
    }
    with_a_vcpu_in_a_device(|machine, devices| {
        machine.pause().expect("paused");
        assert!(!devices.at_work.load(Ordering::SeqCst), "a paused vCPU is in no device");
        machine.resume().expect("resumed");
    });
}

#[test]
fn a_second_pause_waits_like_the_first() {
    if !kvm() {
        return;
    }
    with_a_vcpu_in_a_device(|machine, devices| {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    machine.pause().expect("paused");
                    assert!(!devices.at_work.load(Ordering::SeqCst), "a paused vCPU is in no device");
                });
            }
        });
        machine.resume().expect("resumed");
    });
}

#[test]
fn a_pause_that_is_overruled_does_not_wait_for_ever() {
    if !kvm() {
        return;
    }
    with_a_vcpu_in_a_device(|machine, _| {
        std::thread::scope(|scope| {
            let pause = scope.spawn(|| machine.pause().expect("paused, or overruled"));
            // The machine is resumed while the vCPU is still on its way out. The vCPU goes on at once, so there may be
            // no moment at which it has stopped.
            while machine.state() != RunState::Paused && !pause.is_finished() {
                std::thread::yield_now();
            }
            machine.resume().expect("resumed");
        });
    });
}

/// A device that makes calls which are not allowed on a vCPU's thread.
struct Misguided {
    machine: std::sync::Weak<Machine>,
    refused: AtomicBool,
}

impl ExitHandler for Misguided {
    fn io_in(&self, _: u16, _: &mut [u8]) -> Step {
        Step::Continue
    }

    fn io_out(&self, _: u16, _: &[u8]) -> Step {
        let Some(machine) = self.machine.upgrade() else { return Step::Shutdown };
        // What a device may do: write guest memory, for DMA.
        machine.vm().write_memory(20 * MIB, &[1]).expect("RAM");
        let refusals = [
            machine.pause().err(),
            machine.vm().add_block(&block("new", GIB, 1)).err(),
            machine.vm().remove_block("ram").err(),
        ];
        let all = refusals.iter().all(|error| matches!(error, Some(Error::State(_))));
        self.refused.store(all, Ordering::SeqCst);
        Step::Shutdown
    }

    fn mmio_read(&self, _: u64, _: &mut [u8]) -> Step {
        Step::Continue
    }

    /// Where there are no ports, an idle guest writes here.
    fn mmio_write(&self, _: u64, bytes: &[u8]) -> Step {
        self.io_out(0, bytes)
    }
}

#[test]
fn a_device_may_write_memory_but_not_wait_for_its_own_vcpu() {
    if !kvm() {
        return;
    }
    let machine = Arc::new(machine(ram(), 1));
    machine.load_workload(&workload(Kind::Stride, 500, 1, Pacing::Granted), None).expect("it loads");
    let device = Arc::new(Misguided { machine: Arc::downgrade(&machine), refused: AtomicBool::new(false) });
    let vcpus = machine.vm().vcpus().expect("vCPUs");
    vcpus.start(&(Arc::clone(&device) as Arc<dyn ExitHandler>)).expect("it starts");
    while machine.state() == RunState::Running {
        std::thread::yield_now();
    }
    assert_eq!(machine.state(), RunState::Shutdown, "a guest that asks for its end has not crashed");
    assert!(device.refused.load(Ordering::SeqCst));
}

#[test]
fn a_shutdown_from_anywhere_ends_a_wait_and_is_final() {
    if !kvm() {
        return;
    }
    let machine = machine(ram(), 2);
    run(&machine, &workload(Kind::Stride, 500, 2, Pacing::Free));
    begin(&machine, Client::DirtyRate);
    std::thread::scope(|scope| {
        let window =
            scope.spawn(|| machine.sync_at(Client::DirtyRate, &[Duration::from_secs(3600)], &CancelToken::new()));
        let console = scope.spawn(|| machine.console().read(&CancelToken::new()));
        std::thread::sleep(Duration::from_millis(30));
        machine.shutdown().expect("every vCPU ends");
        let text = refusal(window.join().expect("no panic"));
        assert!(text.contains("was shut down"), "{text}");
        assert_eq!(console.join().expect("no panic").expect("no error"), None, "the console has ended");
    });
    machine.shutdown().expect("every vCPU ends");
    assert_eq!(machine.state(), RunState::Shutdown);
    let refused = [
        (machine.start(&CancelToken::new()), "started"),
        (machine.pause(), "paused"),
        (machine.resume(), "resumed"),
        (machine.sync_at(Client::DirtyRate, &[Duration::ZERO], &CancelToken::new()).map(drop), "measured"),
    ];
    for (result, participle) in refused {
        assert!(refusal(result).contains(&format!("cannot be {participle}: it was shut down")));
    }
    // What was written can still be fetched and read.
    sync(&machine);
    assert!(!pages_of(&machine, Client::DirtyRate).is_empty());
}

#[test]
fn the_end_is_told_once_to_each_however_it_came() {
    if !kvm() {
        return;
    }
    let asked = machine(ram(), 2);
    run(&asked, &workload(Kind::Idle, 500, 2, Pacing::Free));
    // It says that it is idle, as it has no budget, and no device of this machine takes that.
    let crashed = machine(ram(), 1);
    crashed.load_workload(&workload(Kind::Stride, 500, 1, Pacing::Granted), None).expect("it loads");
    for (machine, state) in [(asked, RunState::Shutdown), (crashed, RunState::Crashed)] {
        let (told, tells) = std::sync::mpsc::channel();
        let vcpus = machine.vm().vcpus().expect("vCPUs");
        for listener in 0..3 {
            let told = told.clone();
            vcpus.when_ended(move || told.send(listener).expect("somebody listens"));
        }
        assert_eq!(tells.try_recv().ok(), None, "it has not ended");
        if state == RunState::Crashed {
            vcpus.start(&(Arc::new(NoDevices) as Arc<dyn ExitHandler>)).expect("it starts");
        } else {
            machine.shutdown().expect("it ends");
        }
        assert_eq!([(); 3].map(|()| tells.recv().expect("told")), [0, 1, 2]);
        assert_eq!(machine.state(), state);
        machine.shutdown().expect("it has ended");
        vcpus.when_ended(move || told.send(3).expect("somebody listens"));
        assert_eq!(tells.iter().collect::<Vec<_>>(), [3], "who asks late is told at once, and nobody twice");
    }
}

/// No device answers: the first access that a guest makes to one ends it.
struct NoDevices;

impl ExitHandler for NoDevices {
    fn io_in(&self, _: u16, _: &mut [u8]) -> Step {
        Step::Stop("no port".to_owned())
    }

    fn io_out(&self, _: u16, _: &[u8]) -> Step {
        Step::Stop("no port".to_owned())
    }

    fn mmio_read(&self, _: u64, _: &mut [u8]) -> Step {
        Step::Stop("no device".to_owned())
    }

    fn mmio_write(&self, _: u64, _: &[u8]) -> Step {
        Step::Stop("no device".to_owned())
    }
}

#[test]
fn states_that_cannot_be_measured_say_which_they_are() {
    if !kvm() {
        return;
    }
    let measure = |machine: &Machine| machine.sync_at(Client::DirtyRate, &[Duration::ZERO], &CancelToken::new());
    let machine = machine(ram(), 1);
    assert!(refusal(measure(&machine)).contains("not started"));
    assert!(refusal(machine.start(&CancelToken::new())).contains("nothing is loaded"));
    assert!(refusal(machine.settled(&CancelToken::new())).contains("no workload"));
    run(&machine, &workload(Kind::Stride, 500, 1, Pacing::Free));
    assert!(refusal(machine.start(&CancelToken::new())).contains("started already"));
    assert!(refusal(machine.load_workload(&workload(Kind::Idle, 1, 1, Pacing::Free), None)).contains("loaded already"));
    machine.pause().expect("paused");
    assert!(matches!(measure(&machine), Err(Error::Paused(_))));
    machine.resume().expect("resumed");
    begin(&machine, Client::DirtyRate);
    measure(&machine).expect("it runs");
}

#[test]
fn a_pause_inside_a_window_is_an_error_not_a_figure() {
    if !kvm() {
        return;
    }
    let machine = machine(ram(), 1);
    run(&machine, &workload(Kind::Stride, 500, 1, Pacing::Free));
    begin(&machine, Client::DirtyRate);
    std::thread::scope(|scope| {
        let window =
            scope.spawn(|| machine.sync_at(Client::DirtyRate, &[Duration::from_secs(3600)], &CancelToken::new()));
        std::thread::sleep(Duration::from_millis(30));
        machine.pause().expect("paused");
        machine.resume().expect("resumed");
        let text = refusal(window.join().expect("no panic"));
        assert!(text.contains("paused"), "{text}");
    });
    // A pause after the window opened counts, though nobody waited for its end yet.
    machine.clear(Client::DirtyRate).expect("step 3");
    machine.pause().expect("paused");
    machine.resume().expect("resumed");
    assert!(refusal(machine.sync_at(Client::DirtyRate, &[Duration::ZERO], &CancelToken::new())).contains("paused"));
    machine.clear(Client::DirtyRate).expect("step 3");
    machine.sync_at(Client::DirtyRate, &[Duration::ZERO], &CancelToken::new()).expect("a new window");
}

#[test]
fn windows_that_cannot_be_are_refused_before_they_are_waited_for() {
    if !kvm() {
        return;
    }
    let machine = machine(ram(), 1);
    run(&machine, &workload(Kind::Stride, 500, 1, Pacing::Free));
    let hour = [Duration::from_secs(3600)];
    let wait = |client, deadlines: &[Duration]| machine.sync_at(client, deadlines, &CancelToken::new());
    assert!(refusal(wait(Client::DirtyRate, &hour)).contains("does not track"));
    assert!(refusal(wait(Client::Accumulator(7), &hour)).contains("is not open"));
    begin(&machine, Client::DirtyRate);
    assert!(refusal(wait(Client::DirtyRate, &[Duration::MAX])).contains("beyond any clock"));
    wait(Client::DirtyRate, &[Duration::ZERO]).expect("the machine is usable");
}

#[test]
fn a_window_is_cancelled_at_once() {
    if !kvm() {
        return;
    }
    let machine = machine(ram(), 1);
    run(&machine, &workload(Kind::Stride, 500, 1, Pacing::Free));
    begin(&machine, Client::DirtyRate);
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        let window = scope.spawn(|| machine.sync_at(Client::DirtyRate, &[Duration::from_secs(3600)], &cancel));
        cancel.cancel();
        assert!(matches!(window.join().expect("no panic"), Err(Error::Cancelled)));
    });
    machine.vm().lock_dirty_memory().abandon(Client::DirtyRate).expect("its end");
    assert_eq!(machine.vm().lock_dirty_bits().logging_blocks().count(), 0);
    begin(&machine, Client::DirtyRate);
    machine.sync_at(Client::DirtyRate, &[Duration::ZERO], &CancelToken::new()).expect("the machine is usable");
}

/// A guest whose first instructions are `code`.
fn broken(directory: &std::path::Path, name: &str, code: &[u8]) -> std::path::PathBuf {
    let image = workload(Kind::Idle, 1, 1, Pacing::Free);
    let image = Workload { placement: dirtyrate_machine::workload::Placement::Packed, ..image };
    let image = image.build(&[RamRange { guest_address: 0, bytes: 32 * MIB }], page_size()).expect("a guest");
    let mut elf = image.elf().to_vec();
    let (offset, _) = entry(&elf);
    elf[offset..offset + code.len()].copy_from_slice(code);
    let path = directory.join(name);
    std::fs::write(&path, elf).expect("a file");
    path
}

/// Where the entry of an ELF is in the file, and in memory.
fn entry(elf: &[u8]) -> (usize, u64) {
    let word = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().expect("2 bytes"));
    let entry = word(24);
    let headers = (0..usize::from(half(56))).map(|number| word(32) as usize + number * usize::from(half(54)));
    let segment = headers.filter(|&at| elf[at..at + 4] == 1u32.to_le_bytes()).find_map(|at| {
        let (offset, address, size) = (word(at + 8), word(at + 24), word(at + 32));
        (address..address + size).contains(&entry).then(|| (offset + entry - address) as usize)
    });
    (segment.expect("the entry is in a segment"), entry)
}

fn crash(machine: &Machine, kernel: std::path::PathBuf) -> (String, Option<u64>) {
    machine
        .load_kernel(&KernelOptions { kernel, initrd: None, cmdline: String::new() }, &CancelToken::new())
        .expect("it loads");
    begin(machine, Client::DirtyRate);
    machine.start(&CancelToken::new()).expect("it starts");
    let waited = machine.sync_at(Client::DirtyRate, &[Duration::from_secs(3600)], &CancelToken::new());
    let error = waited.expect_err("the guest must crash");
    let Some(MachineError::GuestCrashed { vcpu: 0, reason, instruction_pointer }) = MachineError::of(&error) else {
        panic!("the guest must crash: {error}")
    };
    assert_eq!(machine.state(), RunState::Crashed);
    while machine.console().read(&CancelToken::new()).expect("not cancelled").is_some() {}
    let again = machine.pause().expect_err("it has crashed");
    assert!(matches!(MachineError::of(&again), Some(MachineError::GuestCrashed { .. })), "{again}");
    (reason.clone(), *instruction_pointer)
}

#[test]
fn a_crash_is_reported_with_its_vcpu_reason_and_place() {
    if !kvm() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("dirtyrate-life-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    // On arm64 an exception without vectors is the next exception, for ever.
    if cfg!(target_arch = "x86_64") {
        // ud2, without an interrupt table: a triple fault.
        let (reason, at) = crash(&machine(ram(), 2), broken(&directory, "triple-fault", &[0x0f, 0x0b]));
        assert!(reason.contains("triple fault") || reason.contains("KVM_EXIT"), "{reason}");
        assert!(at.is_some(), "{reason}");
    }
    // A load from 0xe0000000, where nothing is, and a halt; and how far into it the load is.
    let (load, at_load): (Vec<u8>, u64) = if cfg!(target_arch = "x86_64") {
        // mov eax, [0xe0000000]
        ([vec![0xa1, 0x00, 0x00, 0x00, 0xe0], halt()].concat(), 0)
    } else {
        // mov x0, #0xe0000000; ldr w1, [x0]
        ([0xd2bc_0000u32.to_le_bytes().to_vec(), 0xb940_0001u32.to_le_bytes().to_vec(), halt()].concat(), 4)
    };
    let path = broken(&directory, "mmio", &load);
    let (_, address) = entry(&std::fs::read(&path).expect("the file"));
    let (reason, at) = crash(&machine(ram(), 2), path);
    assert!(reason.contains("KVM_EXIT_MMIO: a read of 4 bytes at 0xe0000000"), "{reason}");
    // KVM completes the instruction only when the vCPU runs again.
    assert_eq!(at, Some(address + at_load), "{reason}");
    // The same, ignored: the guest goes on to its halt and lives.
    let mut options = options(ram(), 1);
    options.unknown_mmio = UnknownMmio::Ignore;
    let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
    let kernel = broken(&directory, "ignored", &load);
    machine
        .load_kernel(&KernelOptions { kernel, initrd: None, cmdline: String::new() }, &CancelToken::new())
        .expect("it loads");
    machine.start(&CancelToken::new()).expect("it starts");
    begin(&machine, Client::DirtyRate);
    machine.sync_at(Client::DirtyRate, &[Duration::from_millis(20)], &CancelToken::new()).expect("it lives");
    std::fs::remove_dir_all(&directory).expect("clean-up");
}

/// Code that waits for ever: hlt, or wfi and a branch back to it.
fn halt() -> Vec<u8> {
    if cfg!(target_arch = "x86_64") {
        vec![0xf4]
    } else {
        [0xd503_207fu32.to_le_bytes(), 0x17ff_ffffu32.to_le_bytes()].concat()
    }
}

/// An ELF of these segments, entered at the first one: type, address, bytes in the file, size in memory.
fn elf(segments: &[(u32, u64, &[u8], u64)]) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..8].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    // EM_X86_64, or EM_AARCH64.
    elf[16..20].copy_from_slice(&[2, 0, if cfg!(target_arch = "x86_64") { 62 } else { 183 }, 0]);
    elf[24..32].copy_from_slice(&segments[0].1.to_le_bytes());
    elf[20] = 1;
    elf[32] = 64;
    elf[52..58].copy_from_slice(&[64, 0, 56, 0, segments.len() as u8, 0]);
    let mut data = Vec::new();
    for (kind, address, bytes, memory) in segments {
        let offset = 64 + 56 * segments.len() as u64 + data.len() as u64;
        elf.extend(kind.to_le_bytes());
        elf.extend(7u32.to_le_bytes());
        for word in [offset, *address, *address, bytes.len() as u64, *memory, 4] {
            elf.extend(word.to_le_bytes());
        }
        data.extend(*bytes);
        data.resize(data.len().next_multiple_of(4), 0);
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
    note
}

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;

fn kernel(path: std::path::PathBuf) -> KernelOptions {
    KernelOptions { kernel: path, initrd: None, cmdline: String::new() }
}

#[test]
fn a_kernel_with_several_notes_boots_and_its_bss_is_zero() {
    if !kvm() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("dirtyrate-notes-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("kernel");
    let entry = 2 * MIB as u32;
    let pvh = note(b"Xen\0", 18, &entry.to_le_bytes());
    let other = note(b"GNU\0", 5, &[1, 2, 3, 4]);
    let segments =
        [(PT_LOAD, 2 * MIB, &halt()[..], 3 * page_size()), (PT_NOTE, 0, &pvh[..], 0), (PT_NOTE, 0, &other[..], 0)];
    std::fs::write(&path, elf(&segments)).expect("a file");
    let machine = machine(ram(), 1);
    machine.vm().write_memory(2 * MIB, &vec![0xff; 3 * page_size() as usize]).expect("RAM");
    begin(&machine, Client::DirtyRate);
    machine.load_kernel(&kernel(path), &CancelToken::new()).expect("it loads");
    let mut bss = vec![1; 3 * page_size() as usize - halt().len()];
    machine.vm().read_memory(2 * MIB + halt().len() as u64, &mut bss).expect("RAM");
    assert!(bss.iter().all(|&byte| byte == 0), "p_filesz to p_memsz is zero");
    // Loading counts as writes by the host: every page of the kernel is marked, and also the pages of the boot
    // parameters below 1 MiB.
    let marked = pages_of(&machine, Client::DirtyRate);
    assert!((0..3).all(|page| marked.contains(2 * MIB / page_size() + page)), "{marked:?}");
    assert!(marked.iter().any(|frame| frame < MIB / page_size()), "{marked:?}");
    machine.start(&CancelToken::new()).expect("it starts");
    std::fs::remove_dir_all(&directory).expect("clean-up");
}

#[test]
fn a_load_that_fails_leaves_nothing_behind() {
    if !kvm() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("dirtyrate-failed-load-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let path = directory.join("kernel");
    let entry = MIB as u32;
    let pvh = note(b"Xen\0", 18, &entry.to_le_bytes());
    let ones = vec![0xff; 8 * MIB as usize];
    std::fs::write(&path, elf(&[(PT_LOAD, MIB, &ones[..], 8 * MIB), (PT_NOTE, 0, &pvh[..], 0)])).expect("a file");
    let machine = machine(ram(), 1);
    let absent = KernelOptions { initrd: Some(directory.join("absent")), ..kernel(path.clone()) };
    assert!(refusal(machine.load_kernel(&absent, &CancelToken::new())).contains("No such file"));
    let too_long = KernelOptions { cmdline: "x".repeat(5000), ..kernel(path.clone()) };
    assert!(refusal(machine.load_kernel(&too_long, &CancelToken::new())).contains("command line"));
    let huge = directory.join("initrd");
    let bytes = ram()[0].bytes;
    std::fs::File::create(&huge).and_then(|file| file.set_len(bytes - 2 * MIB)).expect("a file");
    let too_large = KernelOptions { initrd: Some(huge), ..kernel(path) };
    assert!(refusal(machine.load_kernel(&too_large, &CancelToken::new())).contains("do not fit"));
    let mut memory = vec![1; bytes as usize];
    machine.vm().read_memory(0, &mut memory).expect("RAM");
    assert!(memory.iter().all(|&byte| byte == 0), "nothing was written");
    // And the guest that is loaded next has its own truth.
    let guest = run(&machine, &workload(Kind::Stride, 500, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    let from = guest.counters();
    make(&machine, &guest, 300);
    sync(&machine);
    let truth = guest.truth(&from, &guest.counters()).written;
    assert!(truth.len() > 300);
    assert_same(&take(&machine, Client::DirtyRate), &truth, "after failed loads");
    std::fs::remove_dir_all(&directory).expect("clean-up");
}

#[test]
fn kernels_that_cannot_be_booted_are_refused_with_the_reason() {
    if !kvm() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("dirtyrate-kernels-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let good =
        workload(Kind::Idle, 1, 1, Pacing::Free).build(&[RamRange { guest_address: 0, bytes: 32 * MIB }], page_size());
    let good = good.expect("a guest").elf().to_vec();
    let (offset, _) = entry(&good);
    let note_less = {
        let mut elf = good.clone();
        match elf.windows(4).position(|window| window == b"Xen\0") {
            Some(name) => elf[name..name + 4].copy_from_slice(b"Nix\0"),
            // Where no note is wanted: it is for another machine then.
            None => elf[18] = 62,
        }
        elf
    };
    let note_less_text = if cfg!(target_arch = "x86_64") { "no PVH entry" } else { "not an ELF for arm64" };
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "empty"),
        (
            "text",
            b"this is no kernel, but it is longer than an ELF header is, by a good bit".to_vec(),
            "neither an ELF",
        ),
        ("header", good[..40].to_vec(), "truncated"),
        ("truncated", good[..offset + 10].to_vec(), "cut off"),
        ("no-note", note_less, note_less_text),
    ];
    let load = |machine: &Machine, path: std::path::PathBuf| machine.load_kernel(&kernel(path), &CancelToken::new());
    let machine = machine(ram(), 1);
    for (name, bytes, expected) in cases {
        let path = directory.join(name);
        std::fs::write(&path, bytes).expect("a file");
        let text = refusal(load(&machine, path.clone()));
        assert!(text.contains(expected) && text.contains(name), "{text}");
    }
    assert!(refusal(load(&machine, directory.join("absent"))).contains("No such file"));
    assert!(refusal(load(&machine, directory.clone())).contains("is a directory, not a regular file"));
    for (device, found) in [("/dev/zero", "a device"), ("/proc/self/status", "of /proc or /sys")] {
        assert!(refusal(load(&machine, device.into())).contains(found), "{device}");
    }
    // Nothing ever writes to this pipe, so the refusal must not wait for data.
    let fifo = directory.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo is there").success());
    assert!(refusal(load(&machine, fifo)).contains("is a pipe, not a regular file"));
    // A kernel that is larger than memory.
    let path = directory.join("good");
    std::fs::write(&path, &good).expect("a file");
    let small = support::machine(vec![block("ram", 0, (MIB + 8192) / page_size())], 1);
    let text = refusal(load(&small, path.clone()));
    assert!(text.contains("outside RAM") || text.contains("larger than memory"), "{text}");
    // After all that the first machine still boots.
    load(&machine, path).expect("a good kernel");
    machine.start(&CancelToken::new()).expect("it starts");
    std::fs::remove_dir_all(&directory).expect("clean-up");
}
