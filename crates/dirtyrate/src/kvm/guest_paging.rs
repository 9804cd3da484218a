//! How guest physical addresses are translated to addresses of the host: whether the CPU does it, and how many bits
//! such an address has.

use kvm_ioctls::Kvm;

/// Whether KVM's module for this CPU is set to use nested paging. A KVM without such a module does not use it.
#[cfg(target_arch = "x86_64")]
pub fn nested_paging() -> bool {
    ["kvm_amd/parameters/npt", "kvm_intel/parameters/ept"].iter().any(|parameter| {
        let value = std::fs::read_to_string(format!("/sys/module/{parameter}"));
        value.is_ok_and(|value| matches!(value.trim(), "Y" | "1"))
    })
}

/// Whether KVM's module for this CPU uses page-modification logging, which needs nested paging; `None` if it has no
/// such parameter.
#[cfg(target_arch = "x86_64")]
pub fn page_modification_log() -> Option<bool> {
    ["kvm_intel/parameters/pml", "kvm_amd/parameters/pml"].iter().find_map(|parameter| {
        let value = std::fs::read_to_string(format!("/sys/module/{parameter}")).ok()?;
        Some(matches!(value.trim(), "Y" | "1"))
    })
}

/// Whether guests are emulated: `kvm_pvm` emulates all guests that are not made for it, and the modules of the two
/// vendors emulate none.
#[cfg(target_arch = "x86_64")]
pub fn emulated() -> Option<bool> {
    let loaded = |module: &str| std::path::Path::new("/sys/module").join(module).exists();
    if loaded("kvm_intel") || loaded("kvm_amd") {
        return Some(false);
    }
    loaded("kvm_pvm").then_some(true)
}

/// Not known on arm64. The CPU's log there is HDBSS (FEAT_HDBSS of Armv9.5), and no released kernel uses it or says
/// that it does: the patches that propose a capability (`KVM_CAP_ARM_HW_DIRTY_STATE_TRACK`) have no number for it that
/// is reserved. What the CPU has (`ID_AA64MMFR1_EL1.HAFDBS`) does not say what KVM does with it.
#[cfg(target_arch = "aarch64")]
pub fn page_modification_log() -> Option<bool> {
    None
}

/// arm64's KVM always runs guests on the CPU.
#[cfg(target_arch = "aarch64")]
pub fn emulated() -> Option<bool> {
    Some(false)
}

/// The bits of a guest physical address. Without nested paging this is what the architecture allows. With nested paging
/// it is what KVM tells guests about this CPU (CPUID 8000_0008H, EAX 7:0), and KVM's slots have the same limit
/// (`kvm_mmu_max_gfn`).
#[cfg(target_arch = "x86_64")]
pub fn guest_address_bits(kvm: &Kvm) -> u32 {
    const ARCHITECTURE: u32 = 52;
    if !nested_paging() {
        return ARCHITECTURE;
    }
    let supported = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).ok();
    let bits = supported.and_then(|cpuid| {
        cpuid.as_slice().iter().find(|entry| entry.function == 0x8000_0008).map(|entry| entry.eax & 0xff)
    });
    bits.filter(|bits| (32..=ARCHITECTURE).contains(bits)).unwrap_or(ARCHITECTURE)
}

/// arm64's KVM always uses a second level of page tables for guests (stage 2).
#[cfg(target_arch = "aarch64")]
pub fn nested_paging() -> bool {
    true
}

/// The bits of a guest physical address: what the VM was created with, which is the most that the host has; 40 before
/// Linux 4.20.
#[cfg(target_arch = "aarch64")]
pub fn guest_address_bits(kvm: &Kvm) -> u32 {
    match kvm.get_host_ipa_limit() {
        limit @ 32..=52 => limit.unsigned_abs(),
        _ => 40,
    }
}
