//! Models of dirty memory with several threads, under every order of their steps within loom's bounds (docs/testing.md
//! has the command).
//!
//! The code is the real one; the kernel is a [`FakeLog`]. A write by the guest has two steps, the store and then its
//! entry in the log, as if KVM emulates the guest. Hardware logs the page before the store, which allows fewer orders.
//! The oracle is a copy: a client that takes the bit of a page reads the page afterwards, as a migration does. So a
//! write that the client does not get makes its copy differ from the guest's memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread::{self, JoinHandle};

use super::*;
use crate::bitmap::{Ranges, words_for};
use crate::block::{BlockId, BlockInfo};
use crate::error::Result;
use crate::locks::{Condvar, Mutex, MutexGuard, lock, wait};
use crate::wait::CancelToken;

const PROTECTS: [FakeProtect; 3] = [FakeProtect::Automatic, FakeProtect::Manual, FakeProtect::ManualInitiallySet];
const PAGE: u64 = 4096;
/// Two chunks of a block, the second of them not whole.
const TWO_CHUNKS: u64 = 64 + 3;

fn info(id: u64, name: &str, first_page: u64, pages: u64) -> BlockInfo {
    BlockInfo { id: BlockId(id), name: name.to_owned(), guest_address: first_page * PAGE, pages }
}

/// How often each page was written, by block and page. It is behind a lock of loom, because loom tries orders only of
/// its own locks.
type Contents = BTreeMap<(u64, u64), u64>;

/// A guest whose memory is known completely, its log, and its dirty memory.
struct Rig {
    log: FakeLog,
    contents: Mutex<Contents>,
    memory: Mutex<DirtyMemory>,
    bits: SharedBits,
    /// A lock that is taken for each write of the guest, and by a thread that holds the vCPUs. Its value says whether
    /// the plug exists.
    running: Mutex<bool>,
}

fn ram() -> BlockInfo {
    info(1, "ram", 0, TWO_CHUNKS)
}

/// The second block, when it is there for the `generation`th time.
fn plug(generation: u64) -> BlockInfo {
    info(1 + generation, "plug", 1000, 3)
}

impl Rig {
    fn new(protect: FakeProtect) -> Self {
        Self::over(FakeLog::new(protect), |log| Box::new(log.clone()))
    }

    fn over(log: FakeLog, seen: impl FnOnce(&FakeLog) -> Box<dyn DirtyLog>) -> Self {
        let mut memory = DirtyMemory::new(seen(&log), PAGE, 64 * PAGE);
        log.add_block(ram().id, ram().pages);
        memory.add_block(ram()).expect("a block");
        let bits = memory.shared_bits();
        let all = [ram(), plug(1), plug(2)];
        let pages = all.iter().flat_map(|block| (0..block.pages).map(|page| ((block.id.0, page), 0)));
        Self {
            log,
            contents: Mutex::new(pages.collect()),
            memory: Mutex::new(memory),
            bits,
            running: Mutex::new(false),
        }
    }

    fn memory(&self) -> MutexGuard<'_, DirtyMemory> {
        lock(&self.memory)
    }

    /// Steps 1 and 2 of a measurement, or a migration with its first bits taken, into a copy.
    fn start(&self, client: Client) -> Copy {
        let mut memory = self.memory();
        memory.start_tracking(client).expect("step 1");
        if client.begins_full() {
            drop(memory);
            let mut copy = Copy::new(client);
            copy.take(self);
            return copy;
        }
        memory.discard_initial_log(&CancelToken::new()).expect("step 2");
        memory.clear(client).expect("step 3");
        // The contents before the measurement.
        Copy { client, pages: lock(&self.contents).clone() }
    }

    fn store(&self, block: &BlockInfo, page: u64) {
        *lock(&self.contents).entry((block.id.0, page)).or_default() += 1;
    }

    /// The guest writes a page of the first block.
    fn write(&self, page: u64) {
        self.store(&ram(), page);
        self.log.guest_write(ram().id, page);
    }

    fn write_as_host(&self, page: u64) {
        self.store(&ram(), page);
        self.bits.lock().mark_host_write(ram().guest_address + page * PAGE, PAGE);
    }

    fn sync(&self) {
        self.memory().sync(&CancelToken::new()).expect("step 4");
    }
}

/// What one client knows of the guest's memory.
struct Copy {
    client: Client,
    pages: Contents,
}

impl Copy {
    fn new(client: Client) -> Self {
        Self { client, pages: BTreeMap::new() }
    }

    /// Takes the client's bits of the first block, then reads these pages.
    fn take(&mut self, rig: &Rig) {
        self.take_block(rig, &ram());
    }

    fn take_block(&mut self, rig: &Rig, block: &BlockInfo) {
        let mut words = vec![0; words_for(block.pages)];
        rig.memory().take_bitmap(self.client, &block.name, &mut words).expect("taken");
        self.read(rig, block, &words);
    }

    fn read(&mut self, rig: &Rig, block: &BlockInfo, words: &[u64]) {
        let contents = lock(&rig.contents);
        for page in Ranges::new(words).flat_map(|range| range.first..range.end()) {
            let at = (block.id.0, page);
            let content = contents[&at];
            assert!(content > 0 || !self.pages.contains_key(&at), "{}: page {page} is made up", self.client);
            self.pages.insert(at, content);
        }
    }

    /// Checks, after a last sync and take, that the client's copy equals the guest's memory.
    fn is_whole(&self, rig: &Rig, block: &BlockInfo) {
        let contents = lock(&rig.contents);
        for page in 0..block.pages {
            let at = (block.id.0, page);
            assert_eq!(self.pages.get(&at), contents.get(&at), "{}: a write of page {page} is lost", self.client);
        }
    }

    fn ends_whole(mut self, rig: &Rig) {
        self.take(rig);
        self.is_whole(rig, &ram());
    }
}

/// Counts and bits of a client, at one instant.
fn check_counts(bits: &DirtyBits, client: Client) {
    let reap = bits.reap(client).expect("step 5");
    for of_block in reap.blocks.iter().filter(|of_block| !of_block.removed) {
        let bitmap = bits.bitmap(client, &of_block.block.name).expect("a client");
        assert_eq!(of_block.pages, bitmap.map_or(0, |bitmap| bitmap.count()), "the count is that of the bits");
        let mut heat = [0; 2];
        bits.heat(client, &of_block.block.name, 64, &mut heat).expect("a block");
        assert_eq!(u64::from(heat[0] + heat[1]), of_block.pages, "and so is the heat");
    }
}

/// Starts what one thread does. The model's first thread only starts and joins, so that no preemption is spent on it.
fn spawn<T: 'static>(rig: &Arc<Rig>, work: impl FnOnce(&Rig) -> T + 'static) -> JoinHandle<T> {
    let rig = Arc::clone(rig);
    thread::spawn(move || work(&rig))
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("it did not panic")
}

fn for_each_protect(model: fn(FakeProtect)) {
    for protect in PROTECTS {
        loom::model(move || model(protect));
    }
}

#[test]
fn nothing_is_lost_to_clients_that_take_beside_a_sync() {
    for_each_protect(|protect| {
        let rig = Arc::new(Rig::new(protect));
        let measured = rig.start(Client::DirtyRate);
        let mut migrated = rig.start(Client::Migration);
        let guest = spawn(&rig, |rig| [0, 1, 66, 0].into_iter().for_each(|page| rig.write(page)));
        let syncer = spawn(&rig, Rig::sync);
        let taker = spawn(&rig, move |rig| {
            migrated.take(rig);
            migrated
        });
        join(guest);
        join(syncer);
        let migrated = join(taker);
        rig.sync();
        check_counts(&rig.bits.lock(), Client::DirtyRate);
        migrated.ends_whole(&rig);
        measured.ends_whole(&rig);
    });
}

#[test]
fn the_host_writes_and_reads_beside_a_sync() {
    for_each_protect(|protect| {
        let rig = Arc::new(Rig::new(protect));
        let measured = rig.start(Client::DirtyRate);
        let migrated = rig.start(Client::Migration);
        let guest = spawn(&rig, |rig| [0, 66].into_iter().for_each(|page| rig.write(page)));
        let syncer = spawn(&rig, Rig::sync);
        let host = spawn(&rig, |rig| {
            rig.write_as_host(1);
            let seen = rig.bits.lock().reap(Client::DirtyRate).expect("step 5").pages;
            rig.write_as_host(0);
            let bits = rig.bits.lock();
            check_counts(&bits, Client::DirtyRate);
            check_counts(&bits, Client::Migration);
            assert!(bits.reap(Client::DirtyRate).expect("step 5").pages >= seen, "nobody took any");
        });
        join(guest);
        join(syncer);
        join(host);
        rig.sync();
        assert_eq!(rig.bits.lock().reap(Client::DirtyRate).expect("step 5").pages, 3);
        migrated.ends_whole(&rig);
        measured.ends_whole(&rig);
    });
}

#[test]
fn a_migration_that_starts_and_takes_beside_writes_misses_none() {
    for_each_protect(|protect| {
        let rig = Arc::new(Rig::new(protect));
        let guest = spawn(&rig, |rig| [0, 0].into_iter().for_each(|page| rig.write(page)));
        // The one that comes first turns the log on, and ends its first round for the other one.
        let measuring = spawn(&rig, |rig| {
            rig.memory().start_tracking(Client::DirtyRate).expect("step 1");
            rig.memory().discard_initial_log(&CancelToken::new()).expect("step 2");
            rig.memory().stop_tracking(Client::DirtyRate).expect("stop");
        });
        let migrating = spawn(&rig, |rig| rig.start(Client::Migration));
        join(guest);
        join(measuring);
        let migrated = join(migrating);
        rig.memory().stop_tracking(Client::Migration).expect("the last sync");
        migrated.ends_whole(&rig);
    });
}

#[test]
fn a_block_goes_and_comes_back_beside_a_sync() {
    for_each_protect(|protect| {
        let rig = Arc::new(Rig::new(protect));
        let measured = rig.start(Client::DirtyRate);
        rig.log.add_block(plug(1).id, plug(1).pages);
        rig.memory().add_block(plug(1)).expect("a block");
        *lock(&rig.running) = true;
        let mut migrated = rig.start(Client::Migration);
        migrated.take_block(&rig, &plug(1));
        // Its writes go to the plug that is there.
        let guest = spawn(&rig, |rig| {
            for page in [0, 2] {
                let first_is_there = lock(&rig.running);
                let block = if *first_is_there { plug(1) } else { plug(2) };
                rig.store(&block, page);
                rig.log.guest_write(block.id, page);
            }
        });
        let syncer = spawn(&rig, Rig::sync);
        let plugging = spawn(&rig, |rig| {
            let mut memory = rig.memory();
            let mut held = lock(&rig.running);
            memory
                .remove_block("plug", || {
                    rig.log.remove_block(plug(1).id);
                    Ok(())
                })
                .expect("removed");
            rig.log.add_block(plug(2).id, plug(2).pages);
            memory.add_block(plug(2)).expect("added");
            *held = false;
        });
        join(guest);
        join(syncer);
        join(plugging);
        rig.sync();
        // Both clients have what the first plug was left with: they took none of it since it was whole.
        let (written, gone): (u64, u64) = {
            let bits = rig.bits.lock();
            check_counts(&bits, Client::DirtyRate);
            let reap = bits.reap(Client::DirtyRate).expect("step 5");
            let of = |removed| reap.blocks.iter().filter(|of| of.removed == removed).map(|of| of.pages).sum();
            let migration = bits.reap(Client::Migration).expect("step 5");
            let gone: u64 = migration.blocks.iter().filter(|of| of.removed).map(|of| of.pages).sum();
            assert_eq!(gone, of(true), "both were told of the writes to what is gone");
            (of(false), of(true))
        };
        let contents = lock(&rig.contents).clone();
        let count =
            |block: &BlockInfo| (0..block.pages).filter(|page| contents[&(block.id.0, *page)] > 0).count() as u64;
        assert_eq!(gone, count(&plug(1)), "written before it went");
        assert_eq!(written, count(&plug(2)), "written since it came");
        migrated.take_block(&rig, &plug(2));
        migrated.is_whole(&rig, &plug(2));
        drop(measured);
    });
}

#[test]
fn a_measurement_that_begins_and_ends_takes_nothing_from_another_client() {
    for_each_protect(|protect| {
        let rig = Arc::new(Rig::new(protect));
        let mut migrated = rig.start(Client::Migration);
        let guest = spawn(&rig, |rig| [1, 1].into_iter().for_each(|page| rig.write(page)));
        let measuring = spawn(&rig, |rig| {
            let measured = rig.start(Client::DirtyRate);
            rig.memory().take(Client::DirtyRate).expect("step 5");
            rig.memory().abandon(measured.client).expect("its end");
        });
        let migrating = spawn(&rig, move |rig| {
            rig.sync();
            migrated.take(rig);
            migrated
        });
        join(guest);
        join(measuring);
        let migrated = join(migrating);
        rig.sync();
        migrated.ends_whole(&rig);
    });
}

/// Shows why only dirty memory may take bits. A thread that took bits with only their own lock could do so after the
/// fetch that brought a bit and before its page is protected again, and then no client would get a write in between.
/// Without manual protect there is no such time.
fn take_by_the_bits_lock_alone(protect: FakeProtect) {
    loom::model(move || {
        let rig = Arc::new(Rig::new(protect));
        let mut migrated = rig.start(Client::Migration);
        let guest = spawn(&rig, |rig| [0, 0].into_iter().for_each(|page| rig.write(page)));
        let syncer = spawn(&rig, Rig::sync);
        let taker = spawn(&rig, move |rig| {
            let words = {
                let mut bits = rig.bits.lock();
                let bitmap = bits.bitmap(Client::Migration, "ram").expect("a client").expect("its bits");
                let words = bitmap.words().to_vec();
                bits.clear(Client::Migration, Vec::new());
                words
            };
            migrated.read(rig, &ram(), &words);
            migrated
        });
        join(guest);
        join(syncer);
        let migrated = join(taker);
        rig.sync();
        migrated.ends_whole(&rig);
    });
}

#[test]
#[should_panic(expected = "migration: a write of page 0 is lost")]
fn to_take_bits_between_fetch_and_reprotection_would_lose_a_write() {
    take_by_the_bits_lock_alone(FakeProtect::Manual);
}

#[test]
fn without_manual_protect_taking_by_the_lock_alone_loses_no_write() {
    take_by_the_bits_lock_alone(FakeProtect::Automatic);
}

/// Calls of a log that last until a reader of the bits is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slow {
    SetLogging,
    Prepare,
    Fetch,
    Reprotect,
}

#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }
}

struct SlowLog {
    log: FakeLog,
    slow: Slow,
    gate: Gate,
}

impl SlowLog {
    fn enter(&self, call: Slow) {
        let mut open = lock(&self.gate.0.0);
        while call == self.slow && !*open {
            open = wait(&self.gate.0.1, open);
        }
    }
}

impl DirtyLog for SlowLog {
    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        self.enter(Slow::SetLogging);
        self.log.set_logging(block, on)
    }

    fn initially_set(&self) -> bool {
        self.log.initially_set()
    }

    fn fetch_reprotects(&self) -> bool {
        self.log.fetch_reprotects()
    }

    fn vcpu_log(&mut self) -> Option<&mut dyn VcpuLog> {
        Some(self)
    }

    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
        self.enter(Slow::Fetch);
        self.log.fetch(block, into)
    }

    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()> {
        self.enter(Slow::Reprotect);
        self.log.reprotect(block, first_page, pages, bits)
    }
}

impl VcpuLog for SlowLog {
    fn prepare(&mut self) -> Result<Prepared> {
        self.enter(Slow::Prepare);
        let now = Instant::now();
        Ok(Prepared { closed: now, opened: now, took: Duration::ZERO })
    }

    fn vcpus(&self) -> usize {
        0
    }

    fn visit(&self, _: BlockId, _: &mut dyn FnMut(usize, &VcpuPages) -> Result<()>) -> Result<()> {
        Ok(())
    }

    fn forget_pages(&mut self, _: BlockId) {}

    fn take_loss(&mut self) -> RingLoss {
        RingLoss::default()
    }
}

#[test]
fn who_reads_bits_or_writes_as_the_host_waits_for_no_call_of_the_log() {
    for slow in [Slow::SetLogging, Slow::Prepare, Slow::Fetch, Slow::Reprotect] {
        // A reader that waited for the call would wait for itself: a deadlock, which loom reports.
        loom::model(move || {
            let gate = Gate::default();
            let log = FakeLog::new(FakeProtect::ManualInitiallySet);
            let seen = gate.clone();
            let rig = Arc::new(Rig::over(log, |log| Box::new(SlowLog { log: log.clone(), slow, gate: seen })));
            let asking = spawn(&rig, |rig| {
                let measured = rig.start(Client::DirtyRate);
                rig.write(0);
                rig.sync();
                rig.memory().stop_tracking(measured.client).expect("the last sync");
            });
            let reading = spawn(&rig, move |rig| {
                rig.write_as_host(1);
                check_counts(&rig.bits.lock(), Client::DirtyRate);
                gate.open();
            });
            join(asking);
            join(reading);
            let pages = rig.bits.lock().reap(Client::DirtyRate).expect("step 5").pages;
            assert!((1..=2).contains(&pages), "page 0, and page 1 if it was written after the start");
        });
    }
}
