//! What the tests on a real KVM share: machines and page sets.

#![allow(dead_code, reason = "each test file uses its part of it")]

#[path = "../../../dirtyrate/tests/support/mod.rs"]
mod core_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use core_support::{kvm, page_size, refusal};
use dirtyrate::bitmap::PageBitmap;
use dirtyrate::dirty_memory::{Client, DirtyBits, DirtyMemory, Reap};
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate::kvm::{Capabilities, ManualProtect};
use dirtyrate::{BlockInfo, CancelToken};
use dirtyrate_machine::vm::{BlockSpec, LogKind, VmOptions};
use dirtyrate_machine::workload::{Kind, Pacing, PageSet, Placement, Sharing, Workload};
use dirtyrate_machine::{Guest, Machine, MachineOptions, UnknownMmio};

pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;

pub const WRITING: [Kind; 4] = [Kind::Stride, Kind::Random, Kind::HotCold, Kind::Silent];
pub const PROTECTS: [ManualProtect; 3] = [ManualProtect::None, ManualProtect::Enable, ManualProtect::InitiallySet];

/// Whether a test of dirty rings can run here. On a kernel without rings this says so, and checks that asking for a
/// ring is refused.
pub fn rings() -> bool {
    if !kvm() {
        return false;
    }
    let capabilities = Capabilities::probe(Path::new("/dev/kvm")).expect("KVM is there");
    if capabilities.dirty_ring_entries > 0 {
        return true;
    }
    eprintln!("skipped: this kernel has no dirty ring");
    let mut options = options(vec![block("ram", 0, 8192)], 1);
    options.vm.log = LogKind::Ring { entries: 65_536, reaping: Reaping::Run };
    let text = refusal(Machine::new(&options, &CancelToken::new()));
    assert!(text.contains("no dirty ring"), "{text}");
    false
}

pub fn block(name: &str, guest_address: u64, pages: u64) -> BlockSpec {
    BlockSpec { name: name.to_owned(), guest_address, bytes: pages * page_size() }
}

/// Blocks with holes between, none a multiple of 64 pages, one of 1 GiB and 3 pages, and one above 4 GiB.
pub fn scattered() -> Vec<BlockSpec> {
    vec![
        block("low", 0, 8192 + 3),
        block("middle", GIB, GIB / page_size() + 3),
        block("small", 2 * GIB + 5 * page_size(), 65),
        block("high", 4 * GIB + 2 * MIB, 515),
    ]
}

pub fn options(blocks: Vec<BlockSpec>, vcpus: u32) -> MachineOptions {
    MachineOptions { blocks, vcpus, unknown_mmio: UnknownMmio::Stop, vm: VmOptions::default() }
}

pub fn machine(blocks: Vec<BlockSpec>, vcpus: u32) -> Machine {
    Machine::new(&options(blocks, vcpus), &CancelToken::new()).expect("a machine")
}

pub fn protected(blocks: Vec<BlockSpec>, vcpus: u32, protect: ManualProtect) -> Machine {
    let mut options = options(blocks, vcpus);
    options.vm.log = LogKind::Bitmap(Some(protect));
    // Two chunks in the larger blocks, so that chunked re-protection is part of every test.
    options.vm.clear_chunk_bytes = 512 * MIB;
    let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
    assert_eq!(machine.vm().manual_protect(), protect);
    machine
}

/// A machine with dirty rings of this many entries.
pub fn with_rings(blocks: Vec<BlockSpec>, vcpus: u32, entries: u32, reaping: Reaping) -> Machine {
    let mut options = options(blocks, vcpus);
    options.vm.log = LogKind::Ring { entries, reaping };
    Machine::new(&options, &CancelToken::new()).expect("a machine with rings")
}

pub fn workload(kind: Kind, pages: u64, vcpus: u32, pacing: Pacing) -> Workload {
    let (sharing, placement) = (Sharing::Split, Placement::Spread);
    Workload { kind, pages, vcpus, sharing, placement, pacing, seed: 7 }
}

/// Loads and starts a workload.
pub fn run(machine: &Machine, workload: &Workload) -> Arc<Guest> {
    machine.load_workload(workload, None).expect("the workload loads");
    machine.start(&CancelToken::new()).expect("the guest starts");
    machine.guest().expect("a workload is loaded")
}

/// Steps 1 to 3.
pub fn begin(machine: &Machine, client: Client) {
    machine.start_tracking(client).expect("step 1");
    machine.discard_initial_log(&CancelToken::new()).expect("step 2");
    machine.clear(client).expect("step 3");
}

/// Lets the guest make `writes` on each vCPU and waits for them.
pub fn make(machine: &Machine, guest: &Guest, writes: u64) {
    guest.grant(writes).expect("a granted guest");
    machine.settled(&CancelToken::new()).expect("the guest runs");
}

/// Step 4, now.
pub fn sync(machine: &Machine) {
    machine.vm().lock_dirty_memory().sync(&CancelToken::new()).expect("step 4");
}

/// The client's pages as guest frame numbers, from the bits and not from the counts, without pages that the guest only
/// reads.
pub fn pages_of(machine: &Machine, client: Client) -> PageSet {
    let pages = pages_in(&machine.vm().lock_dirty_bits(), client);
    but_read_only(machine, &pages)
}

/// Removes the pages that the guest only reads, if this machine's log may have such pages, because it is not known
/// which of them are in which window. The control page stays, because tests grant writes in each window, so it is dirty
/// in each.
pub fn but_read_only(machine: &Machine, pages: &PageSet) -> PageSet {
    let Ok(guest) = machine.guest() else { return pages.clone() };
    let control = [guest.program().control_page() / page_size()].into_iter().collect();
    pages.difference(&guest.read_only().difference(&control))
}

/// Whether the CPU itself runs the guest's code. Elsewhere the kernel emulates it.
pub fn nested_paging() -> bool {
    Capabilities::probe(Path::new("/dev/kvm")).is_ok_and(|capabilities| capabilities.nested_paging)
}

fn pages_in(dirty_bits: &DirtyBits, client: Client) -> PageSet {
    let mut frames = Vec::new();
    for block in dirty_bits.blocks() {
        if let Some(bitmap) = dirty_bits.bitmap(client, &block.name).expect("the client exists") {
            frames.extend(frames_of(block, bitmap));
        }
    }
    frames.into()
}

/// The set bits of a block as guest frame numbers.
pub fn frames_of(block: &BlockInfo, bitmap: &PageBitmap) -> impl Iterator<Item = u64> {
    let first = block.guest_address / page_size();
    bitmap.ranges().flat_map(move |range| first + range.first..first + range.end())
}

/// Step 5: takes the client's pages, and returns them without pages that the guest only reads. Checks that the reap has
/// counted all the bits.
pub fn take(machine: &Machine, client: Client) -> PageSet {
    let pages = take_from(&mut machine.vm().lock_dirty_memory(), client);
    but_read_only(machine, &pages)
}

/// The same for a caller that has the lock already, so that with syncs of other threads the pages that are read are the
/// pages that are taken.
pub fn take_from(dirty_memory: &mut DirtyMemory, client: Client) -> PageSet {
    let pages = pages_in(&dirty_memory.bits(), client);
    let reap: Reap = dirty_memory.take(client).expect("step 5");
    let removed: u64 = reap.blocks.iter().filter(|block| block.removed).map(|block| block.pages).sum();
    assert_eq!(reap.pages - removed, pages.len() as u64, "the count is that of the bits");
    pages
}

/// Says how two sets differ, in a line.
pub fn assert_same(measured: &PageSet, truth: &PageSet, context: &str) {
    let (missing, extra) = (truth.difference(measured), measured.difference(truth));
    assert!(
        missing.is_empty() && extra.is_empty(),
        "{context}: of {} pages {} are missing (first {:x?}) and {} are extra (first {:x?})",
        truth.len(),
        missing.len(),
        missing.iter().next(),
        extra.len(),
        extra.iter().next()
    );
}

/// A folder for the files of a test, which is removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dirtyrate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }

    /// A file of `length` bytes, of which only the first ones, `bytes`, are stored.
    pub fn sparse(&self, name: &str, bytes: &[u8], length: u64) -> PathBuf {
        let path = self.file(name, bytes);
        std::fs::File::options().write(true).open(&path).and_then(|file| file.set_len(length)).expect("a sparse file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tells other threads to end when it goes out of scope, also by a failed assertion: a test that fails must not hang.
pub struct EndsOnDrop<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for EndsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Release);
    }
}
