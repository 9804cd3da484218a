//! vCPU threads: started, held, resumed and ended from anywhere, and what is reported when they end by themselves.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dirtyrate::dirty_memory::{CancelToken, Client};
use dirtyrate::kvm::{ExitHandler, RunState, Step};
use dirtyrate::machine::{KernelOptions, Machine, UnknownMmio};
use dirtyrate::workload::{Kind, Pacing, RamRange, Workload};
use dirtyrate::{Error, kvm::BlockSpec};
use support::*;

fn ram() -> Vec<BlockSpec> {
    vec![block("ram", 0, 32 * MIB / PAGE)]
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
                    machine.vm().vcpus().expect("vCPUs").hold(|| {
                        let before = guest.counters();
                        std::thread::yield_now();
                        assert_eq!(guest.counters(), before, "held");
                    });
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
        machine.vm().vcpus().expect("vCPUs").check_running().expect("every vCPU goes on");
        std::thread::yield_now();
    }
}

/// Devices that take their time.
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

    fn mmio_write(&self, _: u64, _: &[u8]) -> Step {
        Step::Continue
    }
}

#[test]
fn a_pause_waits_for_a_vcpu_that_is_in_a_device() {
    if !kvm() {
        return;
    }
    let machine = machine(ram(), 1);
    // A guest without a budget writes to its idle port all the time.
    machine.load_workload(&workload(Kind::Stride, 500, 1, Pacing::Granted), None).expect("it loads");
    let devices = Arc::new(SlowDevices::default());
    let vcpus = machine.vm().vcpus().expect("vCPUs");
    vcpus.start(&(Arc::clone(&devices) as Arc<dyn ExitHandler>)).expect("it starts");
    for _ in 0..50 {
        while !devices.at_work.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        machine.pause().expect("paused");
        assert!(!devices.at_work.load(Ordering::SeqCst), "a paused vCPU is in no device");
        machine.resume().expect("resumed");
    }
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
        machine.shutdown();
        let text = refusal(window.join().expect("no panic"));
        assert!(text.contains("was shut down"), "{text}");
        assert_eq!(console.join().expect("no panic").expect("no error"), None, "the console has ended");
    });
    machine.shutdown();
    assert_eq!(machine.state(), RunState::Shutdown);
    for result in [machine.start(), machine.pause(), machine.resume()] {
        assert!(matches!(result, Err(Error::State(_))), "{result:?}");
    }
    // What was written can still be fetched and read.
    sync(&machine);
    assert!(!pages_of(&machine, Client::DirtyRate).is_empty());
}

#[test]
fn states_that_cannot_be_measured_say_which_they_are() {
    if !kvm() {
        return;
    }
    let measure = |machine: &Machine| machine.sync_at(Client::DirtyRate, &[Duration::ZERO], &CancelToken::new());
    let machine = machine(ram(), 1);
    assert!(refusal(measure(&machine)).contains("not started"));
    assert!(refusal(machine.start()).contains("nothing is loaded"));
    assert!(refusal(machine.settled(&CancelToken::new())).contains("no workload"));
    run(&machine, &workload(Kind::Stride, 500, 1, Pacing::Free));
    assert!(refusal(machine.start()).contains("started already"));
    assert!(refusal(machine.load_workload(&workload(Kind::Idle, 1, 1, Pacing::Free), None)).contains("loaded already"));
    machine.pause().expect("paused");
    assert!(matches!(measure(&machine), Err(Error::Paused(_))));
    machine.resume().expect("resumed");
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
    assert_eq!(machine.vm().lock_dirty_memory().logging_blocks().count(), 0);
    begin(&machine, Client::DirtyRate);
    machine.sync_at(Client::DirtyRate, &[Duration::ZERO], &CancelToken::new()).expect("the machine is usable");
}

/// A guest whose first instructions are `code`.
fn broken(directory: &std::path::Path, name: &str, code: &[u8]) -> std::path::PathBuf {
    let image = workload(Kind::Idle, 1, 1, Pacing::Free);
    let image = Workload { placement: dirtyrate::workload::Placement::Packed, ..image };
    let image = image.build(&[RamRange { guest_address: 0, bytes: 32 * MIB }]).expect("a guest");
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
    machine.load_kernel(&KernelOptions { kernel, initrd: None, cmdline: String::new() }).expect("it loads");
    begin(machine, Client::DirtyRate);
    machine.start().expect("it starts");
    let waited = machine.sync_at(Client::DirtyRate, &[Duration::from_secs(3600)], &CancelToken::new());
    let Err(Error::GuestCrashed { vcpu: 0, reason, instruction_pointer }) = waited else {
        panic!("the guest must crash: {waited:?}")
    };
    assert_eq!(machine.state(), RunState::Crashed);
    assert!(matches!(machine.pause(), Err(Error::GuestCrashed { .. })));
    (reason, instruction_pointer)
}

#[test]
fn a_crash_is_reported_with_its_vcpu_reason_and_place() {
    if !kvm() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("dirtyrate-life-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    // ud2, without an interrupt table: a triple fault.
    let path = broken(&directory, "triple-fault", &[0x0f, 0x0b]);
    let (_, address) = entry(&std::fs::read(&path).expect("the file"));
    let (reason, at) = crash(&machine(ram(), 2), path);
    assert!(reason.contains("triple fault") || reason.contains("KVM_EXIT"), "{reason}");
    assert!(at.is_some(), "{reason}");
    // mov eax, [0xe0000000]: an address where nothing is.
    let load = [0xa1, 0x00, 0x00, 0x00, 0xe0, 0xf4];
    let (reason, at) = crash(&machine(ram(), 2), broken(&directory, "mmio", &load));
    assert!(reason.contains("KVM_EXIT_MMIO: a read of 4 bytes at 0xe0000000"), "{reason}");
    // KVM completes the instruction only when the vCPU runs again.
    assert_eq!(at, Some(address), "{reason}");
    // The same, ignored: the guest goes on to its hlt and lives.
    let mut options = options(ram(), 1);
    options.unknown_mmio = UnknownMmio::Ignore;
    let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
    let kernel = broken(&directory, "ignored", &load);
    machine.load_kernel(&KernelOptions { kernel, initrd: None, cmdline: String::new() }).expect("it loads");
    machine.start().expect("it starts");
    begin(&machine, Client::DirtyRate);
    machine.sync_at(Client::DirtyRate, &[Duration::from_millis(20)], &CancelToken::new()).expect("it lives");
    std::fs::remove_dir_all(&directory).expect("clean-up");
}

#[test]
fn kernels_that_cannot_be_booted_are_refused_with_the_reason() {
    if !kvm() {
        return;
    }
    let directory = std::env::temp_dir().join(format!("dirtyrate-kernels-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let good = workload(Kind::Idle, 1, 1, Pacing::Free).build(&[RamRange { guest_address: 0, bytes: 32 * MIB }]);
    let good = good.expect("a guest").elf().to_vec();
    let (offset, _) = entry(&good);
    let note_less = {
        let mut elf = good.clone();
        let name = elf.windows(4).position(|window| window == b"Xen\0").expect("the note's name");
        elf[name..name + 4].copy_from_slice(b"Nix\0");
        elf
    };
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "empty"),
        ("text", b"this is no kernel, but it is longer than an ELF header is, by a good bit".to_vec(), "not an ELF"),
        ("header", good[..40].to_vec(), "truncated"),
        ("truncated", good[..offset + 10].to_vec(), "cut off"),
        ("no-note", note_less, "no PVH entry"),
    ];
    let load = |machine: &Machine, kernel: std::path::PathBuf| {
        machine.load_kernel(&KernelOptions { kernel, initrd: None, cmdline: String::new() })
    };
    let machine = machine(ram(), 1);
    for (name, bytes, expected) in cases {
        let path = directory.join(name);
        std::fs::write(&path, bytes).expect("a file");
        let text = refusal(load(&machine, path.clone()));
        assert!(text.contains(expected) && text.contains(name), "{text}");
    }
    assert!(refusal(load(&machine, directory.join("absent"))).contains("No such file"));
    assert!(refusal(load(&machine, directory.clone())).contains("not a regular file"));
    // A kernel that is larger than memory.
    let path = directory.join("good");
    std::fs::write(&path, &good).expect("a file");
    let small = support::machine(vec![block("ram", 0, (MIB + 8192) / PAGE)], 1);
    let text = refusal(load(&small, path.clone()));
    assert!(text.contains("outside RAM") || text.contains("larger than memory"), "{text}");
    // After all that the first machine still boots.
    load(&machine, path).expect("a good kernel");
    machine.start().expect("it starts");
    std::fs::remove_dir_all(&directory).expect("clean-up");
}
