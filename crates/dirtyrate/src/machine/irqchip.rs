//! The interrupt controllers and the timer, in the kernel.

use kvm_ioctls::VmFd;

use crate::error::{Error, Result};

/// Creates PIC, IOAPIC, local APICs and PIT. Before the first vCPU, whose local APIC would be missing otherwise.
#[cfg(target_arch = "x86_64")]
pub(super) fn create(vm: &VmFd) -> Result<()> {
    use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};

    vm.create_irq_chip().map_err(|errno| Error::ioctl("KVM_CREATE_IRQCHIP", "", errno))?;
    // A kernel that calibrates against the PIT reads port 0x61, which only this flag makes the kernel answer.
    let config = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(config).map_err(|errno| Error::ioctl("KVM_CREATE_PIT2", "", errno))
}

/// No machine on this architecture yet.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn create(_: &VmFd) -> Result<()> {
    Err(Error::Unsupported(format!("no machine for {} yet: bring a VM of your own", std::env::consts::ARCH)))
}
