//! Everything at once on a real KVM: syncs, takes, reads, host writes, block changes, pauses and measurements, each on
//! its own thread beside a guest that writes. A client that takes the bit of a page also reads this page into a copy.
//! Whenever all threads stand still, the copies equal the guest's memory; a write that a client did not get would leave
//! its copy behind. At the end each client has got exactly the pages that were written.
//!
//! `DIRTYRATE_TEST_FULL=1 cargo test --release -p dirtyrate --test concurrent_use` does it for longer.

mod support;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use dirtyrate::bitmap::{Ranges, words_for};
use dirtyrate::dirty_memory::{Client, DirtyBits};
use dirtyrate::kvm::dirty_ring::Reaping;
use dirtyrate::{BlockId, CancelToken};
use dirtyrate_machine::vm::{BlockSpec, LogKind};
use dirtyrate_machine::workload::{Kind, Pacing, PageSet};
use dirtyrate_machine::{Guest, Machine};
use support::*;

const VCPUS: u32 = 3;
/// There are so few pages that each is written again and again, also between a fetch and its CLEAR.
const PAGES: u64 = 150;

/// The RAM to which the guest writes.
fn ram() -> Vec<BlockSpec> {
    vec![block("low", 0, 8192 + 3), block("high", 5 * GIB, 515)]
}

/// A block to which only the host writes.
fn shared() -> BlockSpec {
    block("shared", GIB, 130)
}

/// A block that is added and removed, and to which the host writes while it exists.
fn plug() -> BlockSpec {
    block("plug", 3 * GIB, 64 * 3 + 1)
}

fn frames(spec: &BlockSpec) -> std::ops::Range<u64> {
    spec.guest_address / page_size()..(spec.guest_address + spec.bytes) / page_size()
}

fn hash_of(machine: &Machine, frame: u64) -> u64 {
    let mut page = vec![0; page_size() as usize];
    machine.vm().read_memory(frame * page_size(), &mut page).expect("RAM");
    let mut hasher = DefaultHasher::new();
    page.hash(&mut hasher);
    hasher.finish()
}

/// The pages that a client got, and what it read from them. Blocks that are added and removed are left out.
struct Copy {
    client: Client,
    blocks: Vec<BlockSpec>,
    /// By frame, the hash of the page when its bit was last taken.
    pages: BTreeMap<u64, u64>,
}

impl Copy {
    fn new(client: Client, blocks: Vec<BlockSpec>) -> Self {
        Self { client, blocks, pages: BTreeMap::new() }
    }

    fn take(&mut self, machine: &Machine) {
        for spec in &self.blocks {
            let mut words = vec![0; words_for(spec.bytes / page_size())];
            let taken = machine.vm().lock_dirty_memory().take_bitmap(self.client, &spec.name, &mut words);
            taken.expect("taken");
            let first = frames(spec).start;
            for frame in Ranges::new(&words).flat_map(|range| first + range.first..first + range.end()) {
                self.pages.insert(frame, hash_of(machine, frame));
            }
        }
    }

    /// Checks, after the last sync, that each page still has the contents that the client read.
    fn check_pages(&mut self, machine: &Machine, context: &str) {
        self.take(machine);
        let stale: Vec<_> = self.pages.iter().filter(|(frame, hash)| hash_of(machine, **frame) != **hash).collect();
        assert!(stale.is_empty(), "{context}, {}: written and not told: {stale:x?}", self.client);
    }

    /// Checks that the client got exactly the pages of `truth`.
    fn check_told(&self, machine: &Machine, truth: &PageSet, context: &str) {
        let told = but_read_only(machine, &self.pages.keys().copied().collect());
        let here = |frame: &u64| self.blocks.iter().any(|spec| frames(spec).contains(frame));
        let truth: PageSet = truth.iter().filter(here).collect();
        assert_same(&told, &truth, &format!("{context}, {}", self.client));
    }
}

/// The pages of a client that never takes, in the given blocks.
fn told(bits: &DirtyBits, client: Client, blocks: &[BlockSpec]) -> PageSet {
    let of = |spec: &BlockSpec| {
        let bitmap = bits.bitmap(client, &spec.name).expect("a client");
        let block = bits.existing_block(&spec.name).expect("a block that stays");
        bitmap.map(|bitmap| frames_of(block, bitmap).collect::<Vec<_>>()).unwrap_or_default()
    };
    blocks.iter().flat_map(of).collect()
}

/// Counts, bits and heat of a client, at one instant.
fn check_counts(bits: &DirtyBits, client: Client) {
    let reap = bits.reap(client).expect("step 5");
    for of_block in reap.blocks.iter().filter(|of_block| !of_block.removed) {
        let name = &of_block.block.name;
        let bitmap = bits.bitmap(client, name).expect("a client");
        assert_eq!(of_block.pages, bitmap.map_or(0, |bitmap| bitmap.count()), "{client}, {name}");
        let mut heat = vec![0; of_block.block.pages.div_ceil(100) as usize];
        bits.heat(client, name, 100, &mut heat).expect("a block");
        assert_eq!(heat.into_iter().map(u64::from).sum::<u64>(), of_block.pages, "{client}, {name}: the heat");
    }
}

/// What one thread does again and again.
struct Threads<'a> {
    machine: &'a Machine,
    context: &'a str,
    /// Taken for each round of it, and by who wants them all to stand still.
    turn: &'a RwLock<()>,
    ended: &'a AtomicBool,
}

impl Threads<'_> {
    /// A `pace` apart, until the end, which it is for all when one fails.
    fn repeat(&self, pace: Duration, mut round: impl FnMut(u64)) {
        let _end = EndsOnDrop(self.ended);
        for number in 0.. {
            {
                let Ok(_turn) = self.turn.read() else { break };
                round(number);
            }
            if self.ended.load(Ordering::Acquire) {
                break;
            }
            std::thread::sleep(pace);
        }
    }

    fn write_as_host(&self) -> PageSet {
        let mut written = Vec::new();
        self.repeat(Duration::from_micros(200), |round| {
            let frame = frames(&shared()).start + round * 7 % 129;
            // Over the border of two pages; each time something else.
            let address = (frame + 1) * page_size() - 4;
            self.machine.vm().write_memory(address, &round.to_le_bytes()).expect("RAM");
            written.extend([frame, frame + 1]);
        });
        written.into()
    }

    /// The pages that were written of each plug.
    fn plug_in_and_out(&self) -> BTreeMap<BlockId, u64> {
        let mut plugs = BTreeMap::new();
        self.repeat(Duration::from_millis(1), |_| {
            let info = self.machine.vm().add_block(&plug()).expect("added");
            let pages = 1 + info.id.0 % 5;
            for page in 0..pages {
                self.machine.vm().write_memory(plug().guest_address + page * 37 * page_size(), &[1]).expect("RAM");
            }
            std::thread::sleep(Duration::from_micros(info.id.0 % 4 * 300));
            self.machine.vm().remove_block("plug").expect("removed");
            plugs.insert(info.id, pages);
        });
        plugs
    }

    /// Windows of their own: each between what the guest surely and what it possibly wrote.
    fn measure(&self) {
        let (machine, context) = (self.machine, self.context);
        self.repeat(Duration::from_micros(500), |round| {
            begin(machine, Client::DirtyRate);
            std::thread::sleep(Duration::from_micros(round % 4 * 300));
            sync(machine);
            let (measured, reap) = {
                let bits = machine.vm().lock_dirty_bits();
                (told(&bits, Client::DirtyRate, &ram()), bits.reap(Client::DirtyRate).expect("step 5"))
            };
            assert!(reap.is_complete(), "{context}: {:?}", reap.ring);
            let truth = machine.truth(reap.witness.as_ref()).expect("a workload runs");
            let (missing, extra) = (truth.lower.difference(&measured), measured.difference(&truth.upper));
            assert!(missing.is_empty(), "{context}: {} pages of a window are missing", missing.len());
            assert!(extra.is_empty(), "{context}: {} pages of a window are made up", extra.len());
            machine.abandon(Client::DirtyRate).expect("its end");
        });
    }

    fn pause_and_resume(&self) {
        self.repeat(Duration::from_millis(2), |_| {
            self.machine.pause().expect("paused");
            std::thread::sleep(Duration::from_micros(300));
            self.machine.resume().expect("resumed");
        });
    }
}

fn all_at_once(machine: &Machine, guest: &Guest, context: &str) {
    let full = std::env::var_os("DIRTYRATE_TEST_FULL").is_some();
    let rounds = if full { 10_000 } else { 300 };
    let (mut everywhere, vm) = (ram(), machine.vm());
    everywhere.push(shared());
    let kept = vm.lock_dirty_bits().open_accumulator();
    let taking = vm.lock_dirty_bits().open_accumulator();
    begin(machine, kept);
    begin(machine, taking);
    for client in [Client::Migration, Client::Code] {
        machine.start_tracking(client).expect("start");
        machine.clear(client).expect("the first bits are taken");
    }
    vm.lock_dirty_memory().set_log_mask("low", true).expect("the display's");
    machine.clear(Client::Vga).expect("the first bits are taken");
    // Each takes at its own pace.
    let mut takers = [
        (taking, 0, everywhere.clone()),
        (Client::Migration, 900, everywhere.clone()),
        (Client::Vga, 200, ram()[..1].to_vec()),
    ]
    .map(|(client, pace, blocks)| (Mutex::new(Copy::new(client, blocks)), Duration::from_micros(pace)));
    let from = guest.counters();
    let (turn, ended) = (&RwLock::new(()), &AtomicBool::new(false));
    let threads = &Threads { machine, context, turn, ended };
    let (shared, plugs) = std::thread::scope(|scope| {
        let end = EndsOnDrop(ended);
        let writing = scope.spawn(|| threads.write_as_host());
        let plugging = scope.spawn(|| threads.plug_in_and_out());
        scope.spawn(|| threads.measure());
        scope.spawn(|| threads.pause_and_resume());
        scope.spawn(|| threads.repeat(Duration::ZERO, |_| sync(machine)));
        scope.spawn(|| {
            threads.repeat(Duration::from_micros(100), |_| {
                for client in [kept, taking, Client::Migration, Client::Code, Client::Vga] {
                    check_counts(&vm.lock_dirty_bits(), client);
                }
            });
        });
        for (copy, pace) in &takers {
            scope.spawn(move || {
                threads.repeat(*pace, |_| copy.lock().expect("nobody failed").take(machine));
            });
        }
        for _ in 0..rounds {
            // The guest makes a few writes, and then none, so that no later write can make up for one that was missed.
            guest.grant(40).expect("a granted guest");
            std::thread::sleep(Duration::from_micros(300));
            let _still = turn.write().expect("nobody failed");
            if ended.load(Ordering::Acquire) {
                break;
            }
            machine.settled(&CancelToken::new()).expect("the guest runs");
            sync(machine);
            takers.iter().for_each(|(copy, _)| copy.lock().expect("nobody failed").check_pages(machine, context));
        }
        drop(end);
        (writing.join().expect("the host's writes"), plugging.join().expect("the plug"))
    });
    machine.settled(&CancelToken::new()).expect("the guest runs");
    sync(machine);
    let truth = guest.truth(&from, &guest.counters());
    assert_eq!(truth.lower, but_read_only(machine, &truth.upper), "{context}: the guest stands still");
    let truth = truth.written.union(&shared);
    for (copy, _) in &mut takers {
        let copy = copy.get_mut().expect("nobody failed");
        copy.check_pages(machine, context);
        copy.check_told(machine, &truth, context);
    }
    let bits = vm.lock_dirty_bits();
    let pages = but_read_only(machine, &told(&bits, kept, &everywhere));
    assert_same(&pages, &truth, &format!("{context}, a client that never takes"));
    // KVM's log is not for CODE: it has what the host wrote, the guest's budget among it.
    let granted: PageSet = [guest.program().control_page() / page_size()].into_iter().collect();
    assert_same(&told(&bits, Client::Code, &everywhere), &shared.union(&granted), &format!("{context}, code"));
    let reap = bits.reap(kept).expect("step 5");
    let gone: BTreeMap<_, _> = reap.blocks.iter().filter(|of| of.removed).map(|of| (of.block.id, of.pages)).collect();
    assert!(!plugs.is_empty());
    assert_eq!(gone, plugs, "{context}: the plugs that are gone");
}

fn on(machine: &Machine, context: &str) {
    let guest = run(machine, &workload(Kind::Random, PAGES, VCPUS, Pacing::Granted));
    machine.vm().add_block(&shared()).expect("a block of the host's");
    all_at_once(machine, &guest, context);
}

#[test]
fn a_bitmap_keeps_its_promises_whoever_uses_it_at_once() {
    if !kvm() {
        return;
    }
    for protect in PROTECTS {
        let mut options = options(ram(), VCPUS);
        options.vm.log = LogKind::Bitmap(Some(protect));
        // As many CLEARs to a sync as can be, so that much happens between a fetch and the last of them.
        options.vm.clear_chunk_bytes = page_size();
        let machine = Machine::new(&options, &CancelToken::new()).expect("a machine");
        on(&machine, &format!("{protect:?}"));
    }
}

#[test]
fn rings_keep_their_promises_whoever_uses_them_at_once() {
    if !rings() {
        return;
    }
    on(&with_rings(ram(), VCPUS, 65_536, Reaping::Run), "rings");
}

#[test]
fn a_host_write_marks_no_block_that_came_after_it() {
    if !kvm() {
        return;
    }
    let machine = machine(vec![block("low", 0, 515)], 1);
    // So large that the block can go and come back while it is written.
    let large = block("plug", GIB, 64 * MIB / page_size());
    machine.vm().add_block(&large).expect("added");
    begin(&machine, Client::DirtyRate);
    let byte_of = |frame: u64| {
        let mut byte = [0];
        machine.vm().read_memory(frame * page_size(), &mut byte).expect("RAM");
        byte[0]
    };
    let bytes = vec![1; large.bytes as usize];
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| machine.vm().write_memory(large.guest_address, &bytes));
            while byte_of(frames(&large).start) == 0 {
                std::thread::yield_now();
            }
            machine.vm().remove_block("plug").expect("removed");
            machine.vm().add_block(&large).expect("added");
            writing.join().expect("it did not panic").expect("RAM");
        });
        let marked = told(&machine.vm().lock_dirty_bits(), Client::DirtyRate, std::slice::from_ref(&large));
        let written: PageSet = frames(&large).filter(|frame| byte_of(*frame) == 1).collect();
        assert_same(&marked, &written, "what is marked is what is in the block");
        machine.clear(Client::DirtyRate).expect("cleared");
    }
}
