//! The VMM: two blocks of memory that note the VMM's own writes, a device, and vCPUs that come one after the other.

use std::sync::Arc;

use dirtyrate::BlockInfo;
use dirtyrate::kvm::dirty_ring::Watermark;
use dirtyrate::kvm::{Capabilities, Slots, vcpu_fd, vm_fd};
use dirtyrate::{Error, Result};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use crate::device::{Device, Memory, Request};
use crate::guest::{self, Range};
use crate::vcpu::{Pauser, VcpuThread};

/// The block that everybody writes to.
pub const HIGH: &str = "high";
/// Its size: not a multiple of the 64 pages of a word.
pub const HIGH_PAGES: u64 = 1000;
const HIGH_ADDRESS: u64 = 16 << 20;
const LOW_PAGES: u64 = 16;
/// The code of vCPU `n` lies `n` steps behind this.
const CODE: u64 = 0x1000;
const CODE_STEP: u64 = 0x1000;

/// What each vCPU writes in a round: the first page of the block, and how many.
pub const WRITTEN_BY_VCPU: [(u64, u64); 2] = [(33, 400), (500, 300)];
/// What the device writes in a round, the end of what the first vCPU writes among it.
pub const WRITTEN_BY_DEVICE: (u64, u64) = (420, 20);

pub struct Vmm {
    /// First: their threads end before the rest goes.
    vcpus: Vec<VcpuThread>,
    device: Device,
    pub capabilities: Capabilities,
    kvm: Kvm,
    vm: VmFd,
    pauser: Pauser,
    /// With rings: takes in each vCPU that comes.
    exits: Option<Watermark>,
    /// Last: it is unmapped when the VM is gone.
    memory: Arc<Memory>,
}

fn refused(call: &'static str) -> impl Fn(kvm_ioctls::Error) -> Error {
    move |errno| Error::ioctl(call, "the VMM", errno)
}

impl Vmm {
    /// A VM with its memory, its guest's code and its device. It has no slots and no vCPUs yet.
    pub fn new() -> Result<Self> {
        let kvm = Kvm::new().map_err(refused("open of /dev/kvm"))?;
        let capabilities = Capabilities::of(&kvm);
        let vm = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
        guest::prepare_vm(&vm).map_err(refused("KVM_SET_TSS_ADDR"))?;
        let bytes = |pages: u64| (pages * capabilities.page_size) as usize;
        let ranges = [(GuestAddress(0), bytes(LOW_PAGES)), (GuestAddress(HIGH_ADDRESS), bytes(HIGH_PAGES))];
        let memory = Arc::new(GuestMemoryMmap::from_ranges(&ranges).expect("memory"));
        let device = Device::start(Arc::clone(&memory));
        let vmm =
            Self { vcpus: Vec::new(), device, capabilities, kvm, vm, pauser: Pauser::default(), exits: None, memory };
        for number in 0..WRITTEN_BY_VCPU.len() {
            let range = vmm.range(number);
            vmm.memory.write_slice(&guest::code(&range), GuestAddress(range.code)).expect("room for the code");
        }
        Ok(vmm)
    }

    fn range(&self, vcpu: usize) -> Range {
        let (page_size, (first, pages)) = (self.capabilities.page_size, WRITTEN_BY_VCPU[vcpu]);
        let code = CODE + vcpu as u64 * CODE_STEP;
        Range { code, first_address: HIGH_ADDRESS + first * page_size, pages, page_size }
    }

    /// What the logs know of the VMM's slots: none yet.
    pub fn slots(&self) -> Result<Slots> {
        Slots::new(vm_fd(&self.vm), self.capabilities.memory_slots)
    }

    /// Has the memory set as slots.
    pub fn set_slots(&self, slots: &Slots) -> Result<Vec<BlockInfo>> {
        let regions = ["low", HIGH].into_iter().zip(self.memory.iter());
        // SAFETY: the memory is unmapped when the vCPUs have ended, and nobody else runs one.
        regions.map(|(name, region)| unsafe { slots.add(name, region) }).collect()
    }

    /// What stops the vCPUs.
    pub fn pauser(&self) -> Pauser {
        self.pauser.clone()
    }

    /// Has every vCPU that comes from now on report to rings.
    pub fn use_rings(&mut self, exits: Watermark) {
        self.exits = Some(exits);
    }

    /// Makes one more vCPU, also while others run, and puts it on its thread.
    pub fn add_vcpu(&mut self) -> Result<()> {
        let number = self.vcpus.len();
        let vcpu: VcpuFd = self.vm.create_vcpu(number as u64).map_err(refused("KVM_CREATE_VCPU"))?;
        let range = self.range(number);
        guest::boot(&self.kvm, &self.vm, &vcpu, &range).map_err(refused("setting the vCPU's registers"))?;
        // The ring is attached before the vCPU runs for the first time.
        let ring = match &self.exits {
            Some(exits) => Some((exits.attach(vcpu_fd(&vcpu))?, Box::new(exits.clone()) as _)),
            None => None,
        };
        let (number, ring) = ring.map_or((number, None), |(number, ring)| (number, Some(ring)));
        self.vcpus.push(VcpuThread::start(vcpu, number, &self.pauser, ring)?);
        Ok(())
    }

    /// Has each vCPU and the device write their pages once. `meanwhile` is done while they do.
    pub fn round(&mut self, meanwhile: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let running = self.vcpus.len();
        self.vcpus.iter().try_for_each(VcpuThread::begin_round)?;
        let (first, pages) = WRITTEN_BY_DEVICE;
        let page_size = self.capabilities.page_size;
        self.device.request(Request { address: HIGH_ADDRESS + first * page_size, pages, page_size })?;
        meanwhile(self)?;
        self.vcpus[..running].iter().try_for_each(VcpuThread::end_round)?;
        self.device.wait_used()
    }

    /// What the VMM itself has written since the last call, for each block in the order of the slots.
    pub fn take_own_writes(&self) -> Vec<Vec<u64>> {
        self.memory.iter().map(|region| region.get_mmap().bitmap().get_and_reset()).collect()
    }
}
