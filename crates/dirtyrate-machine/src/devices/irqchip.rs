//! The interrupt controllers and the timer, in the kernel.

use kvm_ioctls::VmFd;

use dirtyrate::{Error, Result};

/// Creates PIC, IOAPIC, local APICs and PIT. This must come before the first vCPU, which would have no local APIC
/// otherwise.
#[cfg(target_arch = "x86_64")]
pub(crate) fn create_before_vcpus(vm: &VmFd) -> Result<()> {
    use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};

    vm.create_irq_chip().map_err(|errno| Error::ioctl("KVM_CREATE_IRQCHIP", "", errno))?;
    // A kernel that calibrates against the PIT reads port 0x61, which only this flag makes the kernel answer.
    let config = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(config).map_err(|errno| Error::ioctl("KVM_CREATE_PIT2", "", errno))
}

/// On x86-64 nothing more is needed once the vCPUs exist.
#[cfg(target_arch = "x86_64")]
pub(crate) fn create_after_vcpus(_: &VmFd, _: u32) -> Result<()> {
    Ok(())
}

/// On arm64 nothing is created before the vCPUs, because a GIC is made for the vCPUs that exist.
#[cfg(target_arch = "aarch64")]
pub(crate) fn create_before_vcpus(_: &VmFd) -> Result<()> {
    Ok(())
}

/// Creates a GICv3 for `vcpus` vCPUs, all of which exist already (Documentation/virt/kvm/devices/arm-vgic-v3.rst). Each
/// vCPU has its own timer.
#[cfg(target_arch = "aarch64")]
pub(crate) fn create_after_vcpus(vm: &VmFd, vcpus: u32) -> Result<()> {
    use kvm_bindings::{
        KVM_DEV_ARM_VGIC_CTRL_INIT, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_GRP_NR_IRQS,
        KVM_VGIC_V3_ADDR_TYPE_DIST, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, kvm_create_device, kvm_device_attr,
        kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3,
    };

    use crate::layout::{DISTRIBUTOR, REDISTRIBUTORS};

    /// How many interrupts there are, including the 32 private ones of each vCPU. This is the smallest number that KVM
    /// accepts.
    const INTERRUPTS: u32 = 64;
    /// The position of the number of vCPUs in the word that describes a region of redistributors.
    const COUNT_SHIFT: u32 = 52;

    let mut device = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V3, ..Default::default() };
    let gic = vm.create_device(&mut device).map_err(|errno| match errno.errno() {
        libc::ENODEV => Error::Unsupported("this machine's KVM has no GICv3, which a machine of ours needs".to_owned()),
        _ => Error::ioctl("KVM_CREATE_DEVICE", "GICv3", errno),
    })?;
    let set = |group: u32, attribute: u32, value: *const ()| {
        let attribute = kvm_device_attr { group, attr: attribute.into(), addr: value as u64, ..Default::default() };
        let context = format!("GICv3, group {group}, attribute {}", attribute.attr);
        gic.set_device_attr(&attribute).map_err(|errno| Error::ioctl("KVM_SET_DEVICE_ATTR", context, errno))
    };
    let distributor = DISTRIBUTOR;
    set(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, (&raw const distributor).cast())?;
    let redistributors = u64::from(vcpus) << COUNT_SHIFT | REDISTRIBUTORS;
    set(KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION, (&raw const redistributors).cast())?;
    let interrupts = INTERRUPTS;
    set(KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, (&raw const interrupts).cast())?;
    set(KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, std::ptr::null())
}
