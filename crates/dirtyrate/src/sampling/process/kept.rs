//! Whether memory is still the same memory: some of the pages that were in it must still be there.

use super::process_fd::Process;
use crate::error::Error;

/// If fewer pages than this are looked at, all of them can vanish although the memory was not replaced.
const MOST_BY_CHANCE: u64 = 8;

/// Counts the pages that an earlier look found in memory: those that still are there, and those that now look as if
/// nobody had ever touched them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kept {
    pub present: u64,
    pub vanished: u64,
}

impl Kept {
    /// Whether the memory is another one than before. A balloon takes pages away too, but never all of them, because
    /// the guest's kernel is in some.
    pub fn is_replaced(self) -> bool {
        self.present == 0 && self.vanished >= MOST_BY_CHANCE
    }
}

/// The error for memory that [is replaced](Kept::is_replaced).
pub fn replaced(process: &Process, name: &str) -> Error {
    process.gone(&format!("has replaced or discarded all memory of '{name}', which is measured"))
}
