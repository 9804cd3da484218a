//! Turns the descriptors of kvm-ioctls into those of the standard library, because kvm-ioctls does not implement `AsFd`
//! yet.

use std::os::fd::{AsRawFd, BorrowedFd};

use kvm_ioctls::{VcpuFd, VmFd};

/// The descriptor of a VM.
pub fn vm_fd(vm: &VmFd) -> BorrowedFd<'_> {
    // SAFETY: the VM owns the descriptor, and is borrowed for as long as what this returns.
    unsafe { BorrowedFd::borrow_raw(vm.as_raw_fd()) }
}

/// The descriptor of a vCPU.
pub fn vcpu_fd(vcpu: &VcpuFd) -> BorrowedFd<'_> {
    // SAFETY: the vCPU owns the descriptor, and is borrowed for as long as what this returns.
    unsafe { BorrowedFd::borrow_raw(vcpu.as_raw_fd()) }
}
