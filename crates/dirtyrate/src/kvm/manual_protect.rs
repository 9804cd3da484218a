//! The three ways in which the kernel protects pages again.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::names;

/// `KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE`: GET does not clear; CLEAR does.
const DIRTY_LOG_MANUAL_PROTECT_ENABLE: u64 = 1 << 0;
/// `KVM_DIRTY_LOG_INITIALLY_SET`: a log begins with all ones, and no page is protected.
const DIRTY_LOG_INITIALLY_SET: u64 = 1 << 1;

/// How pages are protected again after the log was read. QEMU asks the kernel for this in
/// `kvm_get_manual_dirty_log_protect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ManualProtect {
    /// KVM_GET_DIRTY_LOG clears the log and protects the pages by itself.
    None,
    /// GET only reads; KVM_CLEAR_DIRTY_LOG clears and protects.
    Enable,
    /// As [`Enable`](Self::Enable), and a log begins with all ones, so that turning it on protects no page.
    InitiallySet,
}

impl ManualProtect {
    /// All that there are, the least first.
    pub const ALL: [Self; 3] = [Self::None, Self::Enable, Self::InitiallySet];

    /// The best state that the capability's value allows. INITIALLY_SET without ENABLE is `None`.
    pub(super) fn from_capability(value: i32) -> Self {
        let flags = u64::try_from(value).unwrap_or(0);
        if flags & DIRTY_LOG_MANUAL_PROTECT_ENABLE == 0 {
            Self::None
        } else if flags & DIRTY_LOG_INITIALLY_SET == 0 {
            Self::Enable
        } else {
            Self::InitiallySet
        }
    }

    /// The argument of KVM_ENABLE_CAP.
    pub(super) fn flags(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Enable => DIRTY_LOG_MANUAL_PROTECT_ENABLE,
            Self::InitiallySet => DIRTY_LOG_MANUAL_PROTECT_ENABLE | DIRTY_LOG_INITIALLY_SET,
        }
    }

    /// The name in the API and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Enable => "enable",
            Self::InitiallySet => "initially-set",
        }
    }
}

impl FromStr for ManualProtect {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("manual protect", name, &Self::ALL, Self::name)
    }
}
