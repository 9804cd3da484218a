//! The clients, which read dirty bits. Each client has its own bits, and takes none from another client.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// A reader of dirty memory, with QEMU's names (`DIRTY_MEMORY_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Client {
    /// The display. It tracks by a log mask in each block, not by a global flag.
    Vga,
    /// Translated code. Only writes by the host set its bits, while it tracks. KVM's log never sets them, and this
    /// client turns no log on.
    Code,
    /// Live migration. It begins with every bit set, because it has everything still to send.
    Migration,
    /// The dirty rate measurement.
    DirtyRate,
    /// One more measurement, beside the client of the dirty rate: see
    /// [`DirtyBits::open_accumulator`](super::DirtyBits::open_accumulator).
    Accumulator(u32),
}

impl Client {
    /// The clients that begin with every bit set.
    pub(super) const BEGIN_FULL: [Self; 2] = [Self::Migration, Self::Vga];

    /// Whether the client's bits come from the kernel's log, so that its tracking turns logging on.
    pub(super) fn follows_log(self) -> bool {
        self != Self::Code
    }

    /// Whether the client begins with every bit set. Such a client reads a page only after it took the page's bit, so
    /// it does not need the ones of an initial round: it has those bits already.
    pub(super) fn begins_full(self) -> bool {
        Self::BEGIN_FULL.contains(&self)
    }

    /// Whether the client measures: its bits belong to a window, and it wants to know which vCPU wrote each page.
    pub(super) fn measures(self) -> bool {
        self.follows_log() && !self.begins_full()
    }

    /// Whether the client tracks a block: for VGA the block's log mask says so, for any other client its flag.
    pub(super) fn tracks(self, flags: &BTreeSet<Self>, vga: bool) -> bool {
        if self == Self::Vga { vga } else { flags.contains(&self) }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vga => f.write_str("vga"),
            Self::Code => f.write_str("code"),
            Self::Migration => f.write_str("migration"),
            Self::DirtyRate => f.write_str("dirty-rate"),
            Self::Accumulator(number) => write!(f, "accumulator:{number}"),
        }
    }
}

impl FromStr for Client {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "vga" => Ok(Self::Vga),
            "code" => Ok(Self::Code),
            "migration" => Ok(Self::Migration),
            "dirty-rate" => Ok(Self::DirtyRate),
            _ => name
                .strip_prefix("accumulator:")
                .and_then(|number| number.parse().ok())
                .map(Self::Accumulator)
                .ok_or_else(|| {
                    Error::Argument(format!("no dirty memory client '{name}': use vga, code, migration or dirty-rate"))
                }),
        }
    }
}
