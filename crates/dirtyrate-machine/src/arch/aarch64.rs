//! arm64: the vCPUs' initial state, and the instruction pointer of a stopped vCPU.

use kvm_bindings::{KVM_ARM_VCPU_POWER_OFF, KVM_ARM_VCPU_PSCI_0_2, kvm_vcpu_init};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use dirtyrate::{Error, Result};

/// `KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.regs[0])`.
const X0: u64 = 0x6030_0000_0010_0000;
/// The same with `regs.pc`.
const PC: u64 = 0x6030_0000_0010_0040;
/// The same with `regs.pstate`.
const PSTATE: u64 = 0x6030_0000_0010_0042;
/// EL1 with its own stack pointer, all interrupts masked.
const PSTATE_BOOT: u64 = 0x3c5;

/// Prepares a VM before its vCPUs are made. arm64 needs no preparation.
pub fn prepare_vm(_: &VmFd) -> Result<()> {
    Ok(())
}

/// Makes the vCPUs, which come in the order of their ids, CPUs of the host's own kind with PSCI. All vCPUs but the
/// first one wait until they are turned on (Documentation/virt/kvm/api.rst, 4.82).
pub fn prepare_vcpus(_: &Kvm, vm: &VmFd, vcpus: &[VcpuFd]) -> Result<()> {
    let mut target = kvm_vcpu_init::default();
    vm.get_preferred_target(&mut target).map_err(|errno| Error::ioctl("KVM_ARM_PREFERRED_TARGET", "", errno))?;
    target.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
    for (id, vcpu) in vcpus.iter().enumerate() {
        let mut target = target;
        if id > 0 {
            target.features[0] |= 1 << KVM_ARM_VCPU_POWER_OFF;
        }
        vcpu.vcpu_init(&target).map_err(|errno| Error::ioctl("KVM_ARM_VCPU_INIT", format!("vCPU {id}"), errno))?;
    }
    Ok(())
}

/// Makes a vCPU begin at `entry` with the MMU off and with `x0`, as the boot protocol demands.
pub fn set_entry(vcpu: &VcpuFd, entry: u64, x0: u64) -> Result<()> {
    for (name, register, value) in [("pc", PC, entry), ("x0", X0, x0), ("pstate", PSTATE, PSTATE_BOOT)] {
        vcpu.set_one_reg(register, &value.to_le_bytes())
            .map_err(|errno| Error::ioctl("KVM_SET_ONE_REG", name, errno))?;
    }
    Ok(())
}

/// Always `None`, because an arm64 guest reads the frequency of its counter from a register.
pub fn ticks_per_second(_: &VcpuFd) -> Option<u64> {
    None
}

/// The instruction pointer of a vCPU that is not running.
pub fn instruction_pointer(vcpu: &VcpuFd) -> Option<u64> {
    let mut bytes = [0; 8];
    vcpu.get_one_reg(PC, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The detail of an internal error: arm64 has none.
pub fn internal_error(_: &mut VcpuFd) -> Option<String> {
    None
}
