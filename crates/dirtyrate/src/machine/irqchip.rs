//! The interrupt controllers and the timer, in the kernel.

use kvm_bindings::{KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};
use kvm_ioctls::VmFd;

use crate::error::{Error, Result};

/// Creates PIC, IOAPIC, local APICs and PIT. Before the first vCPU, whose local APIC would be missing otherwise.
pub(super) fn create(vm: &VmFd) -> Result<()> {
    vm.create_irq_chip().map_err(|errno| Error::ioctl("KVM_CREATE_IRQCHIP", "", errno))?;
    // A kernel that calibrates against the PIT reads port 0x61, which only this flag makes the kernel answer.
    let config = kvm_pit_config { flags: KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
    vm.create_pit2(config).map_err(|errno| Error::ioctl("KVM_CREATE_PIT2", "", errno))
}
