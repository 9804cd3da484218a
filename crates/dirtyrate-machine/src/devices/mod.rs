//! The devices that a machine has: interrupt controllers and timer in the kernel, and a bus with a serial port and the
//! registers that power it off.

mod bus;
pub(crate) mod irqchip;
#[cfg(target_arch = "x86_64")]
pub(crate) mod power;
mod serial;

pub(crate) use bus::Bus;
pub use bus::UnknownMmio;
pub use serial::Console;
