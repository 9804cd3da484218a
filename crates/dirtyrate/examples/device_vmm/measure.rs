//! What the VMM does to measure, beside a migration: KVM's log for what its vCPUs write, and its own bitmap for what
//! its device writes.

use dirtyrate::Result;
use dirtyrate::bitmap::{PageRange, Ranges};
use dirtyrate::dirty_memory::{Client, DEFAULT_CLEAR_CHUNK_BYTES, DirtyLog, DirtyMemory, Reap};
use dirtyrate::kvm::BitmapLog;
use dirtyrate::kvm::dirty_ring::RingSetup;
use dirtyrate::{BlockInfo, CancelToken};

use crate::vmm::{HIGH, Vmm};

/// Measures rounds with one vCPU and rounds with both. The second vCPU is made within the last round of the first kind.
pub const ROUNDS_ALONE: usize = 3;
pub const ROUNDS_TOGETHER: usize = 3;
/// Entries of each vCPU's dirty ring.
const RING_ENTRIES: u32 = 4096;

/// What a round has brought.
pub struct Measured {
    /// The measurement's rate and window, and what the rings tell of the vCPUs.
    pub reap: Reap,
    /// What was dirty, of the block that everybody writes to.
    pub ranges: Vec<PageRange>,
    /// What the migration was given of that block.
    pub to_migrate: Vec<PageRange>,
}

/// By the kernel's bitmap.
pub fn by_bitmap() -> Result<Vec<Measured>> {
    let vmm = Vmm::new()?;
    let slots = vmm.slots()?;
    let blocks = vmm.set_slots(&slots)?;
    let log = BitmapLog::new(&slots, &vmm.capabilities)?;
    measure(vmm, Box::new(log), blocks)
}

/// The same by dirty rings, into which each vCPU is taken as it comes.
pub fn by_ring() -> Result<Vec<Measured>> {
    let mut vmm = Vmm::new()?;
    let slots = vmm.slots()?;
    let setup = RingSetup::enable(&slots, &vmm.capabilities, RING_ENTRIES)?;
    let blocks = vmm.set_slots(&slots)?;
    let none_yet = std::iter::empty::<std::os::fd::BorrowedFd<'_>>();
    let (log, exits) = setup.attach(none_yet, vmm.pauser())?;
    vmm.use_rings(exits);
    measure(vmm, Box::new(log), blocks)
}

fn measure(mut vmm: Vmm, log: Box<dyn DirtyLog>, blocks: Vec<BlockInfo>) -> Result<Vec<Measured>> {
    let mut memory = DirtyMemory::new(log, vmm.capabilities.page_size, DEFAULT_CLEAR_CHUNK_BYTES);
    blocks.iter().try_for_each(|block| memory.add_block(block.clone()))?;
    let never = CancelToken::new();
    memory.start_tracking(Client::DirtyRate)?;
    memory.start_tracking(Client::Migration)?;
    memory.discard_initial_log(&never)?;
    // What was written before is nobody's round: the guest's code.
    drop(vmm.take_own_writes());
    memory.clear(Client::DirtyRate)?;
    memory.clear(Client::Migration)?;

    vmm.add_vcpu()?;
    let mut measured = Vec::new();
    for round in 1..=ROUNDS_ALONE + ROUNDS_TOGETHER {
        // The second vCPU comes while the first one writes.
        let comes = round == ROUNDS_ALONE;
        vmm.round(|vmm| if comes { vmm.add_vcpu() } else { Ok(()) })?;
        measured.push(take(&vmm, &mut memory, &blocks, &never)?);
    }
    Ok(measured)
}

/// What was written in the round that ends here.
fn take(vmm: &Vmm, memory: &mut DirtyMemory, blocks: &[BlockInfo], never: &CancelToken) -> Result<Measured> {
    let bits = memory.shared_bits();
    for (block, own_writes) in blocks.iter().zip(vmm.take_own_writes()) {
        bits.mark_host_writes(block.id, &own_writes)?;
    }
    memory.sync(never)?;
    let mut to_migrate = Vec::new();
    for block in blocks {
        let mut words = vec![0; block.words()];
        memory.take_bitmap(Client::Migration, &block.name, &mut words)?;
        if block.name == HIGH {
            to_migrate = Ranges::starting_at(&words, 0).collect();
        }
    }
    let ranges = memory.bits().bitmap(Client::DirtyRate, HIGH)?.map(|bitmap| bitmap.ranges().collect());
    Ok(Measured { ranges: ranges.unwrap_or_default(), to_migrate, reap: memory.take(Client::DirtyRate)? })
}
