//! Writes by the kernel's own devices are not in the ring of a vCPU, but in the bitmap beside the rings
//! (KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP).
//!
//! This is for arm64 only. Elsewhere a device of the kernel writes to the guest's memory only if a vCPU causes it. Here
//! an ITS is told to save its tables (Documentation/virt/kvm/devices/arm-vgic-its.rst), on a bare VM with this crate's
//! ring log, as in another VMM.

#![cfg(target_arch = "aarch64")]

mod support;

use std::sync::Arc;

use dirtyrate::bitmap::words_for;
use dirtyrate::dirty_memory::DirtyLog;
use dirtyrate::kvm::dirty_ring::{Reaping, RingSetup};
use dirtyrate::kvm::{Capabilities, Slots, vcpu_fd, vm_fd};
use dirtyrate::{BlockId, GuestClock};
use dirtyrate_machine::arch;
use dirtyrate_machine::vcpu::Vcpus;
use kvm_bindings::{
    KVM_DEV_ARM_ITS_SAVE_TABLES, KVM_DEV_ARM_VGIC_CTRL_INIT, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_DEV_ARM_VGIC_GRP_CTRL,
    KVM_DEV_ARM_VGIC_GRP_ITS_REGS, KVM_VGIC_ITS_ADDR_TYPE, KVM_VGIC_V3_ADDR_TYPE_DIST, KVM_VGIC_V3_ADDR_TYPE_REDIST,
    kvm_create_device, kvm_device_attr, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
};
use kvm_ioctls::{DeviceFd, Kvm, VmFd};
use support::{MIB, kvm};
use vm_memory::{GuestAddress, GuestMemoryRegion, GuestRegionMmap, MmapRegion};

const RAM_BYTES: u64 = 4 * MIB;
const ENTRIES: u32 = 4096;
/// Where the table of collections is: a multiple of the 64 KiB that an ITS's pages have.
const TABLE: u64 = MIB;
/// `GITS_BASER1`, which is that table's, and its VALID bit (Arm IHI 0069, 12.19).
const BASER1: u64 = 0x108;
const BASER_VALID: u64 = 1 << 63;
/// Devices, above the ram.
const DISTRIBUTOR: u64 = 0x800_0000;
const REDISTRIBUTOR: u64 = 0x80a_0000;
const ITS: u64 = 0x808_0000;

fn create(vm: &VmFd, kind: u32) -> DeviceFd {
    vm.create_device(&mut kvm_create_device { type_: kind, ..Default::default() }).expect("the device")
}

fn set(device: &DeviceFd, group: u32, attribute: u64, value: Option<u64>) {
    let addr = value.as_ref().map_or(0, |value| std::ptr::from_ref(value) as u64);
    let attribute = kvm_device_attr { group, attr: attribute, addr, ..Default::default() };
    device.set_device_attr(&attribute).expect("the attribute");
}

/// The pages of the log's window that ends here.
fn pages(log: &mut impl DirtyLog, ram: BlockId, page_size: u64) -> Vec<u64> {
    log.vcpu_log().expect("it is one of rings").prepare().expect("the rings are harvested");
    let mut words = vec![0u64; words_for(RAM_BYTES / page_size)];
    log.fetch(ram, &mut words).expect("the log is read");
    (0..RAM_BYTES / page_size).filter(|page| words[*page as usize / 64] >> (page % 64) & 1 == 1).collect()
}

#[test]
fn what_a_device_of_the_kernels_writes_is_in_the_log() {
    if !kvm() {
        return;
    }
    let kvm = Kvm::new().expect("KVM");
    let capabilities = Capabilities::of(&kvm);
    if !capabilities.dirty_ring_with_bitmap {
        println!("this kernel has no bitmap beside its rings (Linux 6.2)");
        return;
    }
    let vm = Arc::new(kvm.create_vm().expect("a VM"));
    let slots = Slots::new(vm_fd(&vm), capabilities.memory_slots).expect("a descriptor");
    let setup = RingSetup::enable(&slots, &capabilities, ENTRIES).expect("rings").with_reaping(Reaping::Hold);
    let vcpus = vec![vm.create_vcpu(0).expect("a vCPU")];
    arch::prepare_vcpus(&kvm, &vm, &vcpus).expect("an arm64 vCPU");
    let vcpus = Vcpus::new(&vm, vcpus, GuestClock::new()).expect("vCPUs");
    let (mut setup, mut log) = (Some(setup), None);
    let attach = |fds: &[kvm_ioctls::VcpuFd]| {
        log = Some(setup.take().expect("once").attach(fds.iter().map(vcpu_fd), vcpus.holder())?.0);
        Ok(())
    };
    vcpus.set_up(attach).expect("the rings are mapped");
    let mut log = log.expect("attached");

    let region = MmapRegion::new(RAM_BYTES as usize).expect("memory");
    let region = GuestRegionMmap::<()>::new(region, GuestAddress(0)).expect("a region");
    assert_eq!(region.len(), RAM_BYTES);
    // SAFETY: the region lives until the end of this test, after the VM's last use.
    let ram = unsafe { slots.add("ram", &region) }.expect("a slot").id;

    let gic = create(&vm, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3);
    set(&gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST.into(), Some(DISTRIBUTOR));
    set(&gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST.into(), Some(REDISTRIBUTOR));
    set(&gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT.into(), None);
    let its = create(&vm, kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS);
    set(&its, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE.into(), Some(ITS));
    set(&its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT.into(), None);
    set(&its, KVM_DEV_ARM_VGIC_GRP_ITS_REGS, BASER1, Some(BASER_VALID | TABLE));

    log.set_logging(ram, true).expect("the log goes on");
    assert!(pages(&mut log, ram, capabilities.page_size).is_empty(), "nothing was written yet");
    // It has no collection: what it writes is the entry behind the last.
    set(&its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_SAVE_TABLES.into(), None);
    assert_eq!(pages(&mut log, ram, capabilities.page_size), [TABLE / capabilities.page_size]);
    assert!(pages(&mut log, ram, capabilities.page_size).is_empty(), "a window has what was written in it");
    set(&its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_SAVE_TABLES.into(), None);
    assert_eq!(pages(&mut log, ram, capabilities.page_size), [TABLE / capabilities.page_size], "and so has the next");
    vcpus.shutdown().expect("they end");
}
