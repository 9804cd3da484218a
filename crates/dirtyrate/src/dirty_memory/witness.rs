//! Reads a guest's own counters at the edges of a window, so that a test can compare a measurement with the truth.

/// Counters that the guest raises as it writes. If they are read before and after the calls that open and close a
/// window, they bound what the guest wrote in the window.
pub trait Witness: Send + Sync {
    /// The counters at this instant. No counter ever falls. Only the witness knows what the counters mean.
    ///
    /// This is called while the bits are locked, so it must not take a lock of the VM, nor ask the VM for its memory.
    fn counters(&self) -> Vec<u64>;
}

/// The counters before an event that takes time, and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The counters before the first call of the event.
    pub before: Vec<u64>,
    /// The counters after the last call of the event.
    pub after: Vec<u64>,
}

/// The counters around both ends of a client's window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedWindow {
    /// The counters around the sync that opened the window.
    pub opened: Bounds,
    /// The counters when the client's bits were cleared. From then on the bits contain the host's own writes.
    pub cleared: Vec<u64>,
    /// The counters around the fetches that closed the window.
    pub closed: Bounds,
    /// The counters when the bits were reaped. Until then the bits contain the host's own writes.
    pub reaped: Vec<u64>,
}
