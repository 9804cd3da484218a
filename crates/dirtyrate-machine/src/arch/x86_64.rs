//! x86-64: the vCPUs' CPUID, and the instruction pointer of a stopped vCPU.

use kvm_bindings::{KVM_EXIT_INTERNAL_ERROR, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};

use dirtyrate::{Error, Result};

/// Three pages that KVM on an Intel host needs for real mode, just below 4 GiB and below the place of the firmware
/// (KVM_SET_TSS_ADDR; QEMU and Firecracker use the same address).
const TSS_ADDRESS: usize = 0xfffb_d000;

/// CPUID 01H, ECX: there is a hypervisor. KVM leaves this bit to the VMM. Linux looks for KVM's clock only if the bit
/// is set, and finds no other clock in a machine without an HPET.
const HYPERVISOR: u32 = 1 << 31;
/// CPUID 01H, ECX: the timer of the local APIC takes a deadline in ticks of the TSC. KVM leaves this bit to the VMM
/// too, because the VMM may emulate the APIC (Documentation/virt/kvm/api.rst, KVM_GET_SUPPORTED_CPUID). Without the bit
/// a guest measures the frequency of the timer, and gets a wrong result if it does not run all the time.
const TSC_DEADLINE: u32 = 1 << 24;

/// Prepares a VM before its vCPUs are made.
pub fn prepare_vm(vm: &VmFd) -> Result<()> {
    vm.set_tss_address(TSS_ADDRESS).map_err(|errno| Error::ioctl("KVM_SET_TSS_ADDR", "", errno))
}

/// Sets the CPUID of the vCPUs, which come in the order of their ids: everything that the host supports, and each
/// vCPU's own APIC id in the leaves that have one (Intel SDM, CPUID 01H, 0BH and 1FH; AMD APM 3, Fn8000_001E).
pub fn prepare_vcpus(kvm: &Kvm, _: &VmFd, vcpus: &[VcpuFd]) -> Result<()> {
    let mut cpuid = kvm
        .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
        .map_err(|errno| Error::ioctl("KVM_GET_SUPPORTED_CPUID", "", errno))?;
    let flags = HYPERVISOR | if kvm.check_extension(Cap::TscDeadlineTimer) { TSC_DEADLINE } else { 0 };
    for (id, vcpu) in (0u32..).zip(vcpus) {
        for entry in cpuid.as_mut_slice() {
            match entry.function {
                0x1 => {
                    entry.ebx = (entry.ebx & 0x00ff_ffff) | (id << 24);
                    entry.ecx |= flags;
                }
                0xb | 0x1f => entry.edx = id,
                0x8000_001e => entry.eax = id,
                _ => {}
            }
        }
        vcpu.set_cpuid2(&cpuid).map_err(|errno| Error::ioctl("KVM_SET_CPUID2", format!("vCPU {id}"), errno))?;
    }
    Ok(())
}

/// Ticks of this vCPU's TSC in a second; `None` if KVM does not say it (KVM_CAP_GET_TSC_KHZ).
pub fn ticks_per_second(vcpu: &VcpuFd) -> Option<u64> {
    vcpu.get_tsc_khz().ok().map(|khz| u64::from(khz) * 1000).filter(|&ticks| ticks > 0)
}

/// The instruction pointer of a vCPU that is not running.
pub fn instruction_pointer(vcpu: &VcpuFd) -> Option<u64> {
    vcpu.get_regs().ok().map(|regs| regs.rip)
}

/// The detail of an internal error, if the last exit was one.
pub fn internal_error(vcpu: &mut VcpuFd) -> Option<String> {
    let run = vcpu.get_kvm_run();
    if run.exit_reason != KVM_EXIT_INTERNAL_ERROR {
        return None;
    }
    // SAFETY: the exit reason says that the kernel filled the `internal` member of the union.
    let suberror = unsafe { run.__bindgen_anon_1.internal.suberror };
    Some(match suberror {
        1 => "suberror 1: emulation failure".to_owned(),
        2 => "suberror 2: simultaneous exceptions".to_owned(),
        3 => "suberror 3: exit while delivering an event".to_owned(),
        4 => "suberror 4: unexpected exit reason".to_owned(),
        other => format!("suberror {other}"),
    })
}
