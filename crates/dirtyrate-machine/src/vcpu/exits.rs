//! What the machine does when a vCPU leaves the guest because of a device.

use std::time::Duration;

/// What to do after an exit was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The vCPU goes on.
    Continue,
    /// The guest says that it has nothing to do. The vCPU rests for this long, or until it gets a request.
    Idle(Duration),
    /// The guest switches itself off, which is not a crash.
    Shutdown,
    /// No device answers, and the guest cannot go on, for this reason.
    Stop(String),
}

/// The devices, as a vCPU sees them. A vCPU thread makes these calls without holding a lock of its own.
///
/// A device may read and write guest memory. It must not lock dirty memory, because the thread that has this lock may
/// be waiting for the same vCPU. A device cannot wait for the vCPU on whose thread it runs, so pausing, holding, and
/// adding or removing blocks are refused there. To end the VM, a device returns [`Step::Shutdown`] or [`Step::Stop`].
pub trait ExitHandler: Send + Sync {
    /// A read of an I/O port.
    fn io_in(&self, port: u16, data: &mut [u8]) -> Step;
    /// A write to an I/O port.
    fn io_out(&self, port: u16, data: &[u8]) -> Step;
    /// A read of an address where there is no memory slot.
    fn mmio_read(&self, address: u64, data: &mut [u8]) -> Step;
    /// A write to such an address.
    fn mmio_write(&self, address: u64, data: &[u8]) -> Step;
    /// The last vCPU has ended, for any reason, and there will be no more calls. A thread that shuts the VM down waits
    /// until this returns.
    fn ended(&self) {}
}
