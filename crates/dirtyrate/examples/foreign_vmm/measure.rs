//! What the VMM does to measure: its slots handed over, a log made of them, and the five steps.

use dirtyrate::Result;
use dirtyrate::bitmap::PageRange;
use dirtyrate::dirty_memory::{Client, DEFAULT_CLEAR_CHUNK_BYTES, DirtyLog, DirtyMemory, Reap};
use dirtyrate::kvm::dirty_ring::RingSetup;
use dirtyrate::kvm::{BitmapLog, Slots, vcpu_fd, vm_fd};
use dirtyrate::{BlockInfo, CancelToken};

use crate::vmm::{HIGH, Vmm};

/// Where the guest writes, in pages of the block: in the middle of a word of the bitmap.
pub const FIRST: u64 = 33;
/// How many pages it writes in a round.
pub const WRITTEN: u64 = 777;
/// Entries of the vCPU's dirty ring: a few of its rounds fill it.
const RING_ENTRIES: u32 = 4096;

/// What the measurement of one round found.
pub struct Measured {
    /// The rate, the window, and what a ring tells of its vCPU.
    pub reap: Reap,
    /// What was dirty of the block that the guest writes to.
    pub ranges: Vec<PageRange>,
}

/// One round after the other, by the kernel's bitmap.
pub fn by_bitmap(rounds: usize) -> Result<Vec<Measured>> {
    let mut vmm = Vmm::new(FIRST, WRITTEN)?;
    vmm.set_slots()?;
    let slots = slots_of(&vmm)?;
    let blocks = adopt(&vmm, &slots)?;
    let log = BitmapLog::new(&slots, &vmm.capabilities)?;
    let vcpu = vmm.create_vcpu()?;
    vmm.start(vcpu, None)?;
    measure(&vmm, Box::new(log), blocks, rounds)
}

/// The same by a ring of its vCPU's, which the VMM enables before it makes that, and on arm64 before it sets a slot.
pub fn by_ring(rounds: usize) -> Result<Vec<Measured>> {
    let mut vmm = Vmm::new(FIRST, WRITTEN)?;
    let slots = slots_of(&vmm)?;
    let setup = RingSetup::enable(&slots, &vmm.capabilities, RING_ENTRIES)?;
    vmm.set_slots()?;
    let blocks = adopt(&vmm, &slots)?;
    let vcpu = vmm.create_vcpu()?;
    let (log, exits) = setup.attach([vcpu_fd(&vcpu)], vmm.pauser())?;
    vmm.start(vcpu, Some(Box::new(exits)))?;
    measure(&vmm, Box::new(log), blocks, rounds)
}

/// What the logs of this crate know of the VMM's slots: none yet.
pub fn slots_of(vmm: &Vmm) -> Result<Slots> {
    Slots::new(vm_fd(&vmm.vm), vmm.capabilities.memory_slots)
}

/// Takes in the slots that the VMM has set.
pub fn adopt(vmm: &Vmm, slots: &Slots) -> Result<Vec<BlockInfo>> {
    let regions = vmm.regions().into_iter();
    // SAFETY: the VMM unmaps its memory when its vCPU has ended, and nobody else runs one.
    regions.map(|(name, region)| unsafe { slots.adopt(name, region) }).collect()
}

/// The five steps; what is taken at the end of a round begins the next.
fn measure(vmm: &Vmm, log: Box<dyn DirtyLog>, blocks: Vec<BlockInfo>, rounds: usize) -> Result<Vec<Measured>> {
    let mut memory = DirtyMemory::new(log, vmm.capabilities.page_size, DEFAULT_CLEAR_CHUNK_BYTES);
    // The vCPU stands between its rounds, as this asks for.
    blocks.into_iter().try_for_each(|block| memory.add_block(block))?;
    let never = CancelToken::new();
    memory.start_tracking(Client::DirtyRate)?;
    memory.discard_initial_log(&never)?;
    memory.clear(Client::DirtyRate)?;
    let measured = (0..rounds).map(|_| {
        vmm.round()?;
        memory.sync(&never)?;
        let ranges = memory.bits().bitmap(Client::DirtyRate, HIGH)?.map(|bitmap| bitmap.ranges().collect());
        Ok(Measured { ranges: ranges.unwrap_or_default(), reap: memory.take(Client::DirtyRate)? })
    });
    let measured = measured.collect::<Result<_>>()?;
    memory.stop_tracking(Client::DirtyRate)?;
    Ok(measured)
}
