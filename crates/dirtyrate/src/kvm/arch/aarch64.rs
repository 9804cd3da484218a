//! arm64: where a vCPU stands.

use kvm_ioctls::{VcpuFd, VmFd};

use crate::error::Result;

/// `KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.pc)`.
const PC: u64 = 0x6030_0000_0010_0040;

/// Prepares a VM before its vCPUs are made: arm64 needs nothing.
pub fn prepare_vm(_: &VmFd) -> Result<()> {
    Ok(())
}

/// Where a vCPU that is not running stands.
pub fn instruction_pointer(vcpu: &VcpuFd) -> Option<u64> {
    let mut bytes = [0; 8];
    vcpu.get_one_reg(PC, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The detail of an internal error: arm64 has none.
pub fn internal_error(_: &mut VcpuFd) -> Option<String> {
    None
}
