//! What the tests of this module share: random numbers, RAM with holes, images without code, and a
//! guest that runs in the test.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::contract::{CODE_BYTES, MAILBOX_READY, MAILBOX_WRITES, PAGE_SIZE};
use super::*;

/// A random generator for tests only, so that no test depends on the generator under test.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// The page sizes of hosts.
pub const PAGE_SIZES: [u64; 3] = [4096, 16 << 10, 64 << 10];

pub fn range(guest_address: u64, pages: u64) -> RamRange {
    RamRange { guest_address, bytes: pages * PAGE_SIZE }
}

/// Blocks with odd page counts, holes, neighbours that touch, and memory above 4 GiB and above 512
/// GiB.
pub fn ram() -> Vec<RamRange> {
    ram_in(PAGE_SIZE)
}

/// The same blocks, with the same number of pages of this size.
pub fn ram_in(page_size: u64) -> Vec<RamRange> {
    let range = |guest_address, pages| RamRange { guest_address, bytes: pages * page_size };
    let middle = 0x400_0000 / PAGE_SIZE * page_size;
    vec![
        range(0, 4096 + 67),
        range(middle, 129),
        range(middle + 129 * page_size, 3),
        range(1 << 32, 64),
        range(7 << 30, 1),
        range(515 << 30, 1000),
    ]
}

/// The image with `hlt` for code, which needs no particular architecture.
pub fn build(workload: &Workload, ram: &[RamRange]) -> Result<Image, WorkloadError> {
    build_for(workload, ram, PAGE_SIZE)
}

/// The same for a host with pages of this size.
pub fn build_for(workload: &Workload, ram: &[RamRange], page_size: u64) -> Result<Image, WorkloadError> {
    workload.check()?;
    Image::new(workload, ram, page_size, &[0xf4; CODE_BYTES])
}

/// Every combination of a workload's options, over the odd blocks of [`ram`], for 1, 2, 3 and 5 vCPUs.
pub fn workloads(pages: u64) -> Vec<Workload> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for vcpus in [1, 2, 3, 5] {
            for sharing in [Sharing::Split, Sharing::Shared] {
                for placement in Placement::ALL {
                    for pacing in [Pacing::Free, Pacing::Granted, Pacing::Clock(Clock::new(100 << 20))] {
                        all.push(Workload { kind, pages, vcpus, sharing, placement, pacing, seed: all.len() as u64 });
                    }
                }
            }
        }
    }
    all
}

/// The next step of a vCPU within one write.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// Compare the count with the budget.
    Check,
    /// Store the value.
    Data,
    /// Store the count.
    Count,
}

/// When a store gets into the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Logging {
    /// Before it takes effect: a store to a page that is not in the log faults, which puts it
    /// there.
    ByFault,
    /// After it took effect and before the vCPU's next step, as when KVM emulates it.
    AfterStore,
}

struct State {
    program: Program,
    words: HashMap<u64, u64>,
    /// The hypervisor's log.
    log: BTreeSet<u64>,
    steps: Vec<Step>,
    logging: Logging,
    /// For each vCPU the frame of a store that was made and is still to be logged.
    unlogged: Vec<Option<u64>>,
    grants: u64,
    random: Random,
}

/// A guest that runs a random number of steps whenever its memory is read, with a log like KVM's.
pub struct FakeGuest(RefCell<State>);

impl FakeGuest {
    pub fn new(program: &Program, seed: u64, logging: Logging) -> Self {
        let mut words = HashMap::new();
        for vcpu in 0..program.vcpus() {
            words.insert(program.mailbox_page(vcpu) + MAILBOX_READY, 1);
        }
        FakeGuest(RefCell::new(State {
            words,
            log: BTreeSet::new(),
            steps: vec![Step::Check; program.vcpus() as usize],
            logging,
            unlogged: vec![None; program.vcpus() as usize],
            grants: 0,
            random: Random(seed | 1),
            program: program.clone(),
        }))
    }

    pub fn run(&self, most: u64) {
        let mut state = self.0.borrow_mut();
        for _ in 0..state.random.below(most + 1) {
            state.step();
        }
    }

    /// Grants up to `most` writes to some vCPU, while the guest may be anywhere.
    pub fn grant(&self, most: u64) {
        let mut state = self.0.borrow_mut();
        let vcpus = state.program.vcpus();
        let vcpu = state.random.below(u64::from(vcpus)) as u32;
        let writes = state.random.below(most + 1);
        let (budget, control) = (state.program.budget_address(vcpu), state.program.control_page());
        *state.words.entry(budget).or_default() += writes;
        let frame = control / state.program.page_size();
        state.log.insert(frame);
        state.grants += 1;
    }

    /// Takes every vCPU out of the guest for a moment: what it has stored is then logged.
    pub fn leave(&self) {
        let mut state = self.0.borrow_mut();
        for vcpu in 0..state.unlogged.len() {
            state.finish_logging(vcpu);
        }
    }

    pub fn clear_log(&self) {
        self.0.borrow_mut().log.clear();
    }

    pub fn log(&self) -> PageSet {
        self.0.borrow().log.iter().copied().collect()
    }

    pub fn grants(&self) -> u64 {
        self.0.borrow().grants
    }

    pub fn counters(&self) -> Counters {
        let program = self.0.borrow().program.clone();
        program.counters(self, self.grants())
    }

    /// The same memory, standing still.
    pub fn still(&self) -> Still {
        Still(RefCell::new(self.0.borrow().words.clone()))
    }
}

impl State {
    /// One step of some vCPU.
    fn step(&mut self) {
        let vcpu = self.random.below(u64::from(self.program.vcpus())) as u32;
        if self.finish_logging(vcpu as usize) {
            return;
        }
        let mailbox = self.program.mailbox_page(vcpu) + MAILBOX_WRITES;
        let made = self.word(mailbox);
        let next = match self.steps[vcpu as usize] {
            Step::Check => {
                let budget = match self.program.pacing() {
                    Pacing::Free | Pacing::Clock(_) => u64::MAX,
                    Pacing::Granted => self.word(self.program.budget_address(vcpu)),
                };
                if self.program.kind() == Kind::Idle || made >= budget {
                    return;
                }
                Step::Data
            }
            Step::Data => {
                let (page, value) = (self.program.page(vcpu, made), self.program.value(vcpu, made));
                if !self.store(vcpu, page, value) {
                    return;
                }
                Step::Count
            }
            Step::Count => {
                if !self.store(vcpu, mailbox, made + 1) {
                    return;
                }
                Step::Check
            }
        };
        self.steps[vcpu as usize] = next;
    }

    fn word(&self, address: u64) -> u64 {
        self.words.get(&address).copied().unwrap_or(0)
    }

    /// Whether the store took effect; otherwise it faulted and will be tried again.
    fn store(&mut self, vcpu: u32, address: u64, value: u64) -> bool {
        let frame = address / self.program.page_size();
        let allowed = match self.logging {
            Logging::ByFault => !self.log.insert(frame),
            Logging::AfterStore => {
                self.unlogged[vcpu as usize] = Some(frame);
                true
            }
        };
        if allowed {
            self.words.insert(address, value);
        }
        allowed
    }

    /// Logs what this vCPU has stored; whether there was anything.
    fn finish_logging(&mut self, vcpu: usize) -> bool {
        let frame = self.unlogged[vcpu].take();
        self.log.extend(frame);
        frame.is_some()
    }
}

impl GuestWords for FakeGuest {
    fn load(&self, guest_address: u64) -> u64 {
        self.run(6);
        if self.0.borrow_mut().random.below(8) == 0 && self.0.borrow().program.pacing() == Pacing::Granted {
            self.grant(3);
        }
        self.0.borrow().word(guest_address)
    }

    fn store(&self, guest_address: u64, value: u64) {
        self.0.borrow_mut().words.insert(guest_address, value);
    }
}

/// Memory to which nothing else writes.
pub struct Still(RefCell<HashMap<u64, u64>>);

impl GuestWords for Still {
    fn load(&self, guest_address: u64) -> u64 {
        self.0.borrow().get(&guest_address).copied().unwrap_or(0)
    }

    fn store(&self, guest_address: u64, value: u64) {
        self.0.borrow_mut().insert(guest_address, value);
    }
}
