//! What the host knows about a built guest: its addresses, its counters, and the page and value of every write.

use std::ops::Range;

use super::contract::{MAILBOX_READY, MAILBOX_WRITES, UNLIMITED};
use super::kind::{Kind, Pacing, Sharing};
use super::page_set::PageSet;
use super::sequence::Sequence;
use super::spec::Workload;

/// The vCPU's number is in the top byte of a value, above what an index can reach in a lifetime.
const VCPU_SHIFT: u32 = 56;

/// The bits of a mailbox's first word that count: the guest stores the value there that it stored
/// in the page.
const COUNT_MASK: u64 = (1 << VCPU_SHIFT) - 1;

/// The value that every silent write stores. It is the same for all vCPUs, because different values would not be silent
/// on shared pages.
const SILENT_VALUE: u64 = 0x0073_696c_656e_7421;

/// Guest memory, as the host sees it.
///
/// Addresses are guest-physical and multiples of 8. A load acquires and a store releases, and
/// neither is ever torn: on an `AtomicU64` that overlays guest memory, `Ordering::Acquire` and
/// `Ordering::Release`.
pub trait GuestWords {
    /// Reads a word.
    fn load(&self, guest_address: u64) -> u64;
    /// Writes a word.
    fn store(&self, guest_address: u64, value: u64);
}

/// The guest's counters at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// For each vCPU, the number of writes that it had counted: raised after each write.
    pub writes: Vec<u64>,
    /// For each vCPU, its budget just after that: the number of writes granted since the start,
    /// [`UNLIMITED`](Self::UNLIMITED) when it runs freely.
    pub budgets: Vec<u64>,
    /// The number of times that the host had written to the control page.
    pub grants: u64,
}

impl Counters {
    /// The budget of a vCPU that runs freely.
    pub const UNLIMITED: u64 = UNLIMITED;

    /// Whether this vCPU had no write under way, because it had made and counted all writes that were granted to it.
    ///
    /// KVM may emulate a store and log it just afterwards. To be sure that the last count is in the log too, the vCPU
    /// must leave the guest once after this. It does so by itself at [`IDLE_PORT`](super::IDLE_PORT).
    ///
    /// # Panics
    ///
    /// If there is no such vCPU.
    pub fn is_settled(&self, vcpu: u32) -> bool {
        self.writes[vcpu as usize] >= self.budgets[vcpu as usize]
    }

    /// Whether no vCPU had a write under way.
    pub fn all_settled(&self) -> bool {
        self.writes.iter().zip(&self.budgets).all(|(writes, budget)| writes >= budget)
    }
}

/// What a built guest does.
#[derive(Clone, Debug)]
pub struct Program {
    kind: Kind,
    sharing: Sharing,
    pacing: Pacing,
    sequences: Vec<Sequence>,
    page_size: u64,
    control: u64,
    mailboxes: u64,
    /// Where the image is.
    image: Range<u64>,
}

impl Program {
    pub(super) fn new(
        workload: &Workload,
        sequences: Vec<Sequence>,
        page_size: u64,
        control: u64,
        mailboxes: u64,
        image: Range<u64>,
    ) -> Self {
        Program {
            kind: workload.kind,
            sharing: workload.sharing,
            pacing: workload.pacing,
            sequences,
            page_size,
            control,
            mailboxes,
            image,
        }
    }

    /// What the guest does.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How its vCPUs divide the pages.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// What decides how fast the guest writes.
    pub fn pacing(&self) -> Pacing {
        self.pacing
    }

    /// vCPUs that write.
    pub fn vcpus(&self) -> u32 {
        self.sequences.len() as u32
    }

    /// The host's page size in bytes. The dirty log has one bit for each such page.
    pub fn page_size(&self) -> u64 {
        self.page_size
    }

    /// Guest address of the page where this vCPU keeps its counter: written whenever it has made a
    /// write.
    ///
    /// # Panics
    ///
    /// If there is no such vCPU.
    pub fn mailbox_page(&self, vcpu: u32) -> u64 {
        assert!(vcpu < self.vcpus(), "there is no vCPU {vcpu}");
        self.mailboxes + u64::from(vcpu) * self.page_size
    }

    /// Guest address of the page with the budgets: written by the host only.
    pub fn control_page(&self) -> u64 {
        self.control
    }

    /// The pages that the guest executes, reads and walks through, but does not write: its code and parameters, the
    /// control page, and the page tables, whose accessed and dirty bits are set from the start.
    pub fn read_only(&self) -> PageSet {
        let mailboxes = self.mailboxes..self.mailboxes + u64::from(self.vcpus()) * self.page_size;
        let pages = self.image.clone().step_by(self.page_size as usize).filter(|page| !mailboxes.contains(page));
        pages.map(|page| page / self.page_size).collect()
    }

    /// Guest address of a vCPU's budget, the total number of writes granted to it since the start.
    /// The host may raise it at any time and must not lower it.
    ///
    /// # Panics
    ///
    /// If there is no such vCPU.
    pub fn budget_address(&self, vcpu: u32) -> u64 {
        assert!(vcpu < self.vcpus(), "there is no vCPU {vcpu}");
        self.control + u64::from(vcpu) * 8
    }

    /// Whether every vCPU has booted. From then on the guest writes nothing but what this program
    /// says (the flag itself may be logged a moment later, see [`Counters::is_settled`]). Never
    /// true on a VM that has fewer vCPUs than the workload.
    pub fn ready(&self, memory: &dyn GuestWords) -> bool {
        (0..self.vcpus()).all(|vcpu| memory.load(self.mailbox_page(vcpu) + MAILBOX_READY) != 0)
    }

    /// The number of writes that a vCPU has made, from the first two words of its mailbox. None if it has not begun.
    /// It takes a copy of the words, so that it also works for a guest in another VMM.
    pub fn counted([writes, ready]: [u64; 2]) -> Option<u64> {
        (ready != 0).then_some(writes & COUNT_MASK)
    }

    /// The guest's counters now. `grants` is the number of writes by the host to the control page so far. It must be
    /// read while no grant is half done, for example under the lock that a grant takes.
    pub fn counters(&self, memory: &dyn GuestWords, grants: u64) -> Counters {
        // All counts are read before any budget. Budgets only grow, so a count that has reached a budget which is read
        // later had also reached the budget of its own time. In the other order, a grant in between would make a vCPU
        // look settled that is not.
        let writes =
            (0..self.vcpus()).map(|vcpu| memory.load(self.mailbox_page(vcpu) + MAILBOX_WRITES) & COUNT_MASK).collect();
        let budgets = (0..self.vcpus())
            .map(|vcpu| match (self.kind, self.pacing) {
                // An idle guest reads no budget and has no write under way, whatever is granted to it.
                (Kind::Idle, _) => 0,
                (_, Pacing::Free | Pacing::Clock(_)) => UNLIMITED,
                (_, Pacing::Granted) => memory.load(self.budget_address(vcpu)),
            })
            .collect();
        Counters { writes, budgets, grants }
    }

    /// The value that this write stores in the first 8 bytes of its page: `vcpu << 56 | index + 1`,
    /// and always the same for a silent guest. Never 0, so that it differs from memory that was
    /// never written.
    pub fn value(&self, vcpu: u32, index: u64) -> u64 {
        match self.kind {
            Kind::Silent => SILENT_VALUE,
            _ => (u64::from(vcpu) << VCPU_SHIFT).wrapping_add(index).wrapping_add(1),
        }
    }

    /// Guest address of the page that this write goes to.
    ///
    /// # Panics
    ///
    /// If there is no such vCPU.
    pub fn page(&self, vcpu: u32, index: u64) -> u64 {
        let sequence = self.sequence(vcpu);
        sequence.address(sequence.page(index))
    }

    pub(super) fn sequence(&self, vcpu: u32) -> &Sequence {
        &self.sequences[vcpu as usize]
    }

    pub(super) fn sequences(&self) -> impl Iterator<Item = (u32, &Sequence)> {
        (0..).zip(&self.sequences)
    }
}
