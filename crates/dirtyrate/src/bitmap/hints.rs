//! Whether the kernels prefetch by hints.
//!
//! A hint costs an instruction for each line, and pays only where a processor's own prefetcher falls behind. That
//! depends on the processor, so the choice is made at run time, by the processor's vendor:
//! `docs/decisions/prefetch-hints.md` has the measurements, and the reason why the vendor decides and not a measurement
//! at the first use.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The variable that turns the hints `on` or `off`. It is read once, when the first VM is created or the first bitmap
/// is counted.
pub const HINTS_VARIABLE: &str = "DIRTYRATE_HINTS";

/// Whether the kernels over bitmaps hint to the processor which lines they will read next. Their results are the same
/// with and without hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hints {
    /// The kernels leave prefetching to the processor.
    Off,
    /// The kernels ask for each line 2 KiB before they read it.
    On,
}

impl Hints {
    /// Both variants.
    pub const ALL: [Self; 2] = [Self::Off, Self::On];

    /// The name, as `DIRTYRATE_HINTS` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
        }
    }

    /// The variant that is faster on this processor, as far as we have measured.
    pub fn for_this_cpu() -> Self {
        #[cfg(target_arch = "x86_64")]
        return Self::for_vendor(&vendor());
        // We have measured no ARM processor.
        #[cfg(not(target_arch = "x86_64"))]
        Self::Off
    }

    /// The variant that is faster on a vendor's processors. Only Intel's get hints. Hints cost a fifth of the speed on
    /// AMD's, and processors that nobody has measured get none, because without hints no kernel was ever far below the
    /// limit.
    #[cfg(target_arch = "x86_64")]
    fn for_vendor(vendor: &[u8; 12]) -> Self {
        if vendor == b"GenuineIntel" { Self::On } else { Self::Off }
    }

    /// The choice that the variable's value forces, or the one for this processor if the variable is not set.
    pub(super) fn named(value: Option<OsString>) -> Result<Self> {
        let Some(value) = value else { return Ok(Self::for_this_cpu()) };
        value.to_string_lossy().parse()
    }
}

impl fmt::Display for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Hints {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|hints| hints.name() == name).ok_or_else(|| {
            Error::Argument(format!(
                "{HINTS_VARIABLE}: '{name}' is neither 'on' nor 'off': set one of them, or unset it"
            ))
        })
    }
}

/// The vendor that CPUID names in leaf 0.
#[cfg(target_arch = "x86_64")]
fn vendor() -> [u8; 12] {
    // SAFETY: every x86-64 processor has CPUID and its leaf 0. (Newer compilers know that the call is safe.)
    #[allow(unused_unsafe, reason = "the call became safe after the oldest compiler that this crate is built with")]
    let leaf = unsafe { std::arch::x86_64::__cpuid(0) };
    let mut vendor = [0; 12];
    for (part, register) in vendor.as_chunks_mut::<4>().0.iter_mut().zip([leaf.ebx, leaf.edx, leaf.ecx]) {
        *part = register.to_le_bytes();
    }
    vendor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_forces_either_variant_and_refuses_other_words() {
        for hints in Hints::ALL {
            assert_eq!(Hints::named(Some(hints.name().into())).expect("a name"), hints);
        }
        assert_eq!(Hints::named(None).expect("a choice"), Hints::for_this_cpu());
        for word in ["", "ON", "1", "auto"] {
            let text = Hints::named(Some(word.into())).expect_err("refused").to_string();
            assert!(text.contains(HINTS_VARIABLE) && text.contains(&format!("'{word}'")), "{text}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn intel_gets_hints_and_every_other_vendor_none() {
        assert_eq!(Hints::for_vendor(b"GenuineIntel"), Hints::On);
        for vendor in [b"AuthenticAMD", b"HygonGenuine", b"CentaurHauls", b"TCGTCGTCGTCG", b"            "] {
            assert_eq!(Hints::for_vendor(vendor), Hints::Off, "{vendor:?}");
        }
    }

    /// The kernel says the same vendor in `/proc/cpuinfo`.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_vendor_is_the_one_that_the_kernel_shows() {
        let text = std::fs::read_to_string("/proc/cpuinfo").expect("procfs");
        let shown = text.lines().find_map(|line| line.strip_prefix("vendor_id\t: ")).expect("a vendor");
        assert_eq!(String::from_utf8_lossy(&vendor()), shown);
    }
}
