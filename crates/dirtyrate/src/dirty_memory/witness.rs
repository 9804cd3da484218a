//! Reading a guest's own counters at the edges of a window, so that a measurement can be held against the truth.

/// Counters that the guest raises as it writes. Read before and after the calls that open and close a window, they bound
/// what the guest wrote inside it.
pub trait Witness: Send + Sync {
    /// The counters at this instant, of which none ever falls. What they mean is the witness's affair.
    ///
    /// Called while the bits are locked: it must lock nothing of the VM's, nor ask the VM for its memory.
    fn counters(&self) -> Vec<u64>;
}

/// The counters before an event that takes time, and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Read before the first call of it.
    pub before: Vec<u64>,
    /// Read after the last call of it.
    pub after: Vec<u64>,
}

/// The counters around both ends of a client's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedWindow {
    /// Around the sync that opened it.
    pub opened: Bounds,
    /// When the client's bits were cleared: from here on the host's own writes are in them.
    pub cleared: Vec<u64>,
    /// Around the fetches that closed it.
    pub closed: Bounds,
    /// When the bits were reaped: until here the host's own writes are in them.
    pub reaped: Vec<u64>,
}
