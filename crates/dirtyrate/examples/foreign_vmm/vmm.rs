//! The VMM: two blocks of memory in slots that it numbers as it likes, and one vCPU.

use dirtyrate::kvm::Capabilities;
use dirtyrate::kvm::dirty_ring::RingExits;
use dirtyrate::{Error, Result};
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress, MmapRegion};

use crate::guest::{self, Range};
use crate::vcpu::{Pauser, VcpuThread};

/// The block that the guest writes to.
pub const HIGH: &str = "high";
/// Where the guest's code lies.
const CODE: u64 = 0x1000;
const HIGH_ADDRESS: u64 = 16 << 20;
/// Its size: not a multiple of the 64 pages of a word.
pub const HIGH_PAGES: u64 = 1000;
/// The slots' numbers: a VMM may leave some out.
const SLOTS: [u32; 2] = [3, 7];

/// A VM that is not this crate's.
pub struct Vmm {
    /// First: its thread ends before the rest goes.
    vcpu: Option<VcpuThread>,
    pub vm: VmFd,
    pub capabilities: Capabilities,
    kvm: Kvm,
    range: Range,
    pauser: Pauser,
    /// Last: it is unmapped when the VM is gone.
    memory: [GuestRegionMmap; 2],
}

fn refused(call: &'static str) -> impl Fn(kvm_ioctls::Error) -> Error {
    move |errno| Error::Ioctl { call, context: "the VMM".to_owned(), source: errno.into() }
}

impl Vmm {
    /// A VM with its memory and its code, whose guest writes `pages` pages of the second block from the page `first`
    /// on. It has no slots yet.
    pub fn new(first: u64, pages: u64) -> Result<Self> {
        let kvm = Kvm::new().map_err(refused("open of /dev/kvm"))?;
        let capabilities = Capabilities::of(&kvm);
        let page_size = capabilities.page_size;
        let vm = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
        guest::prepare_vm(&vm).map_err(refused("KVM_SET_TSS_ADDR"))?;
        let map = |address: u64, pages: u64| {
            let mapping = MmapRegion::new((pages * page_size) as usize).expect("memory");
            GuestRegionMmap::new(mapping, GuestAddress(address)).expect("an address")
        };
        let range = Range { code: CODE, first_address: HIGH_ADDRESS + first * page_size, pages, page_size };
        let memory = [map(0, 16), map(HIGH_ADDRESS, HIGH_PAGES)];
        memory[0].write_slice(&guest::code(&range), MemoryRegionAddress(CODE)).expect("room for the code");
        let pauser = Pauser::default();
        Ok(Self { vm, capabilities, kvm, range, pauser, vcpu: None, memory })
    }

    /// Sets the slots.
    pub fn set_slots(&self) -> Result<()> {
        self.regions().into_iter().try_for_each(|(_, region)| {
            // SAFETY: the memory is mapped for as long as the VM is there: see `memory`.
            unsafe { self.vm.set_user_memory_region(region) }.map_err(refused("KVM_SET_USER_MEMORY_REGION"))
        })
    }

    /// The slots, as they are set, by name.
    pub fn regions(&self) -> [(&'static str, kvm_userspace_memory_region); 2] {
        let region = |index: usize| kvm_userspace_memory_region {
            slot: SLOTS[index],
            flags: 0,
            guest_phys_addr: self.memory[index].start_addr().0,
            memory_size: self.memory[index].len(),
            userspace_addr: self.memory[index].get_mmap().as_ptr() as u64,
        };
        [("low", region(0)), (HIGH, region(1))]
    }

    /// The vCPU, which does not run yet.
    pub fn create_vcpu(&self) -> Result<VcpuFd> {
        let vcpu = self.vm.create_vcpu(0).map_err(refused("KVM_CREATE_VCPU"))?;
        guest::boot(&self.kvm, &self.vm, &vcpu, &self.range).map_err(refused("setting the vCPU's registers"))?;
        Ok(vcpu)
    }

    /// What stops the vCPU.
    pub fn pauser(&self) -> Pauser {
        self.pauser.clone()
    }

    /// Puts the vCPU on its thread, where it waits for [`round`](Self::round). `ring` is to know what ends its KVM_RUN.
    pub fn start(&mut self, vcpu: VcpuFd, ring: Option<Box<dyn RingExits>>) -> Result<()> {
        self.vcpu = Some(VcpuThread::start(vcpu, 0, &self.pauser, ring)?);
        Ok(())
    }

    /// Has the guest write its pages once, and returns when it has.
    pub fn round(&self) -> Result<()> {
        let vcpu = self.vcpu.as_ref().ok_or_else(|| Error::State("the vCPU was not started".to_owned()))?;
        vcpu.begin_round()?;
        vcpu.end_round()
    }
}
