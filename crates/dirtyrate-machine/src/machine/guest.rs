//! A running guest with a known answer: its counters, its budget, and the truth about a window.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::error::MachineError;
use crate::vm::Vm;
use crate::workload::{Bounds, Counters, Counts, GuestWords, Image, Mismatch, Pacing, PageSet, Program, Stopped};
use dirtyrate::CancelToken;
use dirtyrate::dirty_memory::{Witness, WitnessedWindow};
use dirtyrate::{Error, Result};

/// The page sets that bound what a guest wrote in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The pages that the guest surely wrote in the window.
    pub lower: PageSet,
    /// The pages counted between the end of the window's CLEAR and its GET: the window's own definition.
    pub written: PageSet,
    /// The pages that the guest may have written, and the pages that its CPU may have marked: see [`Guest::read_only`].
    pub upper: PageSet,
}

impl Truth {
    /// How many pages each set has.
    pub fn counts(&self) -> TruthCounts {
        let pages = |set: &PageSet| set.len() as u64;
        TruthCounts { lower: pages(&self.lower), written: pages(&self.written), upper: pages(&self.upper) }
    }
}

/// How many pages each of the sets of [`Truth`] has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruthCounts {
    /// Pages that the guest surely wrote.
    pub lower: u64,
    /// Pages that the guest wrote, by its counters.
    pub written: u64,
    /// Pages that the guest may have written.
    pub upper: u64,
}

/// The RAM that contains the guest's counters, and nothing else, so that the guest does not keep the memory of other
/// blocks mapped after their removal.
struct Words(GuestMemoryMmap);

impl GuestWords for Words {
    fn load(&self, guest_address: u64) -> u64 {
        // The address comes from the image, which was loaded into this region.
        self.0.load(GuestAddress(guest_address), Ordering::Acquire).unwrap_or(0)
    }

    fn store(&self, guest_address: u64, value: u64) {
        let stored = self.0.store(value, GuestAddress(guest_address), Ordering::Release);
        debug_assert!(stored.is_ok(), "{guest_address:#x} is in the image");
    }
}

/// The whole memory of a machine, for comparing contents.
struct AllWords(Arc<GuestMemoryMmap>);

impl GuestWords for AllWords {
    fn load(&self, guest_address: u64) -> u64 {
        self.0.load(GuestAddress(guest_address), Ordering::Acquire).unwrap_or(0)
    }

    fn store(&self, _: u64, _: u64) {
        unreachable!("contents are compared, not written")
    }
}

/// A built-in guest that is loaded.
pub struct Guest {
    program: Program,
    read_only: PageSet,
    words: Words,
    /// This is weak, because the VM's dirty memory owns the guest, as its witness.
    vm: Weak<Vm>,
    /// How often the control page was written. It changes only while dirty memory is locked.
    grants: Mutex<u64>,
}

impl Guest {
    pub(super) fn new(vm: &Arc<Vm>, image: Image) -> Result<Arc<Self>> {
        let program = image.program().clone();
        let memory = vm.memory();
        let home = memory.iter().find(|region| {
            let start = region.start_addr().0;
            (start..start + region.len()).contains(&program.control_page())
        });
        let home = home.ok_or_else(|| Error::State("the guest's control page is not in RAM".to_owned()))?;
        let mapping = vm_memory::GuestRegionMmap::with_arc(home.get_mmap(), home.start_addr());
        let words = mapping.and_then(|region| GuestMemoryMmap::from_regions(vec![region]).ok());
        let words = Words(words.ok_or_else(|| Error::State("the guest's RAM cannot be read".to_owned()))?);
        let read_only = if vm.capabilities().logs_reads() { program.read_only() } else { PageSet::default() };
        Ok(Arc::new(Self { program, read_only, words, vm: Arc::downgrade(vm), grants: Mutex::new(0) }))
    }

    /// What the guest does.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The pages that the guest only reads, if this machine's log may have such pages
    /// ([`Capabilities::logs_reads`](dirtyrate::kvm::Capabilities::logs_reads)), and no pages otherwise. Each of them
    /// may be dirty in any window.
    pub fn read_only(&self) -> &PageSet {
        &self.read_only
    }

    /// Whether every vCPU of the guest is set up.
    pub fn ready(&self) -> bool {
        self.program.ready(&self.words)
    }

    /// The guest's counters now.
    pub fn counters(&self) -> Counters {
        self.program.counters(&self.words, *lock(&self.grants))
    }

    /// Whether the guest has made every write that was granted to it.
    pub fn settled(&self) -> bool {
        self.counters().all_settled()
    }

    /// Lets each vCPU make `writes` more writes. For this the host writes the control page, and marks this page for
    /// every client.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a guest that takes no budget; [`MachineError::Closed`].
    pub fn grant(&self, writes: u64) -> Result<()> {
        self.grant_each(|_| writes)
    }

    /// Does what [`grant`](Self::grant) does, with a separate number of writes for each vCPU.
    pub(super) fn grant_each(&self, writes: impl Fn(u32) -> u64) -> Result<()> {
        let vm = self.vm.upgrade().ok_or(MachineError::Closed)?;
        let whose = match self.program.pacing() {
            Pacing::Granted => None,
            Pacing::Free => Some("runs freely"),
            Pacing::Clock(_) => Some("is paced by its own clock"),
        };
        if let Some(whose) = whose {
            return Err(Error::Argument(format!("this guest {whose}: only a granted one takes a budget")));
        }
        // Both happen under one lock, so that a window has both the mark and the count, or neither.
        let mut dirty_bits = vm.lock_dirty_bits();
        for vcpu in 0..self.program.vcpus() {
            let address = self.program.budget_address(vcpu);
            // The largest budget would mean "without end" to the guest.
            let raised = self.words.load(address).saturating_add(writes(vcpu)).min(u64::MAX - 1);
            self.words.store(address, raised);
        }
        dirty_bits.mark_host_write(self.program.control_page(), self.program.page_size());
        *lock(&self.grants) += 1;
        Ok(())
    }

    /// The truth between two instants. If the guest made no write at either instant, all three sets are the same. For a
    /// guest that draws its pages at random, this takes about four nanoseconds for each write between the instants; use
    /// [`count_truth`](Self::count_truth) if there are many pages.
    ///
    /// # Panics
    ///
    /// If the counters are those of a guest with fewer vCPUs.
    pub fn truth(&self, from: &Counters, to: &Counters) -> Truth {
        let written = self.program.written(from, to);
        self.bounded(self.program.bounds((from, from), (to, to)), written)
    }

    /// How many pages the sets of [`truth`](Self::truth) have.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for counters of another guest, or counters that this guest has not reached;
    /// [`Error::Cancelled`].
    pub fn count_truth(&self, from: &Counters, to: &Counters, cancel: &CancelToken) -> Result<TruthCounts> {
        let now = self.counters();
        let vcpus = self.program.vcpus() as usize;
        if [from, to].iter().any(|at| at.writes.len() != vcpus || at.budgets.len() != vcpus) {
            let text = format!("counters of another guest: this one has {vcpus} vCPUs");
            return Err(Error::Argument(text));
        }
        let no_later = |earlier: &Counters, later: &Counters| {
            earlier.writes.iter().zip(&later.writes).all(|(earlier, later)| earlier <= later)
                && earlier.grants <= later.grants
        };
        if !no_later(from, to) {
            return Err(Error::Argument("the second instant is before the first".to_owned()));
        }
        if !no_later(to, &now) {
            let text = "the second instant is later than now: it is not one of this guest";
            return Err(Error::Argument(text.to_owned()));
        }
        self.counted(self.program.counts((from, from), (to, to), &mut || !cancel.is_cancelled()))
    }

    /// The bounds of what was written in a window.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn truth_of_window(&self, window: &WitnessedWindow, cancel: &CancelToken) -> Result<Truth> {
        let [opened, closed] = self.edges(window);
        let sets = self.program.sets((&opened.0, &opened.1), (&closed.0, &closed.1), &mut || !cancel.is_cancelled());
        let (bounds, written) = sets.map_err(|_| Error::Cancelled)?;
        Ok(self.bounded(bounds, written))
    }

    /// How many pages the sets of [`truth_of_window`](Self::truth_of_window) have.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn count_truth_of_window(&self, window: &WitnessedWindow, cancel: &CancelToken) -> Result<TruthCounts> {
        let [opened, closed] = self.edges(window);
        self.counted(
            self.program.counts((&opened.0, &opened.1), (&closed.0, &closed.1), &mut || !cancel.is_cancelled()),
        )
    }

    /// The counters before and after each end of a window.
    fn edges(&self, window: &WitnessedWindow) -> [(Counters, Counters); 2] {
        let at = |reading: &[u64], grants: &[u64]| self.decode(reading, grants);
        [
            (at(&window.opened.before, &window.cleared), at(&window.opened.after, &window.cleared)),
            (at(&window.closed.before, &window.reaped), at(&window.closed.after, &window.reaped)),
        ]
    }

    fn bounded(&self, Bounds { lower, upper }: Bounds, written: PageSet) -> Truth {
        Truth { lower, written, upper: upper.union(&self.read_only) }
    }

    fn counted(&self, counts: std::result::Result<Counts, Stopped>) -> Result<TruthCounts> {
        let Counts { lower, written, upper, control } = counts.map_err(|_| Error::Cancelled)?;
        // Among the pages that the guest only reads, only the control page can also be a written page, because the host
        // writes it.
        let both = control && self.read_only.contains(self.program.control_page() / self.program.page_size());
        let upper = upper + self.read_only.len() as u64 - u64::from(both);
        Ok(TruthCounts { lower, written, upper })
    }

    /// Checks that the contents of the pages agree with the counters. The machine must be paused, or its guest settled.
    ///
    /// # Errors
    ///
    /// [`MachineError::Closed`]; [`Error::Cancelled`].
    pub fn confirm_contents(&self, cancel: &CancelToken) -> Result<std::result::Result<(), Mismatch>> {
        let vm = self.vm.upgrade().ok_or(MachineError::Closed)?;
        let memory = AllWords(vm.memory());
        let confirmed = self.program.confirm_contents(&memory, &self.counters(), &mut || !cancel.is_cancelled());
        confirmed.map_err(|_| Error::Cancelled)
    }

    /// The VM in which the guest is loaded; `None` once it is dropped.
    pub(super) fn vm(&self) -> Option<Arc<Vm>> {
        self.vm.upgrade()
    }

    /// Decodes a witness's reading, which has the writes, the budgets and the number of grants. The number of grants is
    /// taken from `grants`.
    fn decode(&self, reading: &[u64], grants: &[u64]) -> Counters {
        let vcpus = self.program.vcpus() as usize;
        Counters {
            writes: reading[..vcpus].to_vec(),
            budgets: reading[vcpus..2 * vcpus].to_vec(),
            grants: grants[2 * vcpus],
        }
    }
}

impl Witness for Guest {
    fn counters(&self) -> Vec<u64> {
        let Counters { mut writes, budgets, grants } = Guest::counters(self);
        writes.extend(budgets);
        writes.push(grants);
        writes
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
