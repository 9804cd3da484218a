//! How guest physical addresses become the host's: whether the CPU does it, and how many bits such an address has.

use kvm_ioctls::Kvm;

/// Whether KVM's module for this CPU has been told to use its nested paging. A KVM that has no such module does without.
#[cfg(target_arch = "x86_64")]
pub fn nested_paging() -> bool {
    ["kvm_amd/parameters/npt", "kvm_intel/parameters/ept"].iter().any(|parameter| {
        let value = std::fs::read_to_string(format!("/sys/module/{parameter}"));
        value.is_ok_and(|value| matches!(value.trim(), "Y" | "1"))
    })
}

/// What KVM's module for this CPU says of page-modification logging, which needs nested paging; `None` without such a parameter.
#[cfg(target_arch = "x86_64")]
pub fn page_modification_log() -> Option<bool> {
    ["kvm_intel/parameters/pml", "kvm_amd/parameters/pml"].iter().find_map(|parameter| {
        let value = std::fs::read_to_string(format!("/sys/module/{parameter}")).ok()?;
        Some(matches!(value.trim(), "Y" | "1"))
    })
}

/// Whether guests are emulated: `kvm_pvm` does that with all guests that are not made for it, and the modules of the two vendors with none.
#[cfg(target_arch = "x86_64")]
pub fn emulated() -> Option<bool> {
    let loaded = |module: &str| std::path::Path::new("/sys/module").join(module).exists();
    if loaded("kvm_intel") || loaded("kvm_amd") {
        return Some(false);
    }
    loaded("kvm_pvm").then_some(true)
}

/// arm64's KVM has no parameter for a log that the CPU writes.
#[cfg(target_arch = "aarch64")]
pub fn page_modification_log() -> Option<bool> {
    None
}

/// arm64's KVM always runs guests on the CPU.
#[cfg(target_arch = "aarch64")]
pub fn emulated() -> Option<bool> {
    Some(false)
}

/// Bits of a guest physical address: what the architecture allows, and with nested paging what KVM tells guests of this CPU
/// (CPUID 8000_0008H, EAX 7:0), which then also bounds its slots (`kvm_mmu_max_gfn`).
#[cfg(target_arch = "x86_64")]
pub fn guest_address_bits(kvm: &Kvm) -> u32 {
    const ARCHITECTURE: u32 = 52;
    if !nested_paging() {
        return ARCHITECTURE;
    }
    let told = kvm.get_supported_cpuid(kvm_bindings::KVM_MAX_CPUID_ENTRIES).ok();
    let bits = told.and_then(|cpuid| {
        cpuid.as_slice().iter().find(|entry| entry.function == 0x8000_0008).map(|entry| entry.eax & 0xff)
    });
    bits.filter(|bits| (32..=ARCHITECTURE).contains(bits)).unwrap_or(ARCHITECTURE)
}

/// A guest always has page tables of its own under the host's (stage 2).
#[cfg(target_arch = "aarch64")]
pub fn nested_paging() -> bool {
    true
}

/// Bits of a guest physical address: what the VM was made with, which is the most that the host has; 40 before Linux 4.20.
#[cfg(target_arch = "aarch64")]
pub fn guest_address_bits(kvm: &Kvm) -> u32 {
    match kvm.get_host_ipa_limit() {
        limit @ 32..=52 => limit.unsigned_abs(),
        _ => 40,
    }
}
