//! The RAM that a guest is built for.

/// Guest-physical addresses that are RAM: one block of a VM's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamRange {
    /// Where it begins; a multiple of the page size.
    pub guest_address: u64,
    /// Its size; a multiple of the page size, not 0.
    pub bytes: u64,
}
