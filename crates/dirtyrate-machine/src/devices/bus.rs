//! The bus, which passes each access of a vCPU to the device at that address.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kvm_ioctls::VmFd;

#[cfg(target_arch = "x86_64")]
use super::power::PowerRegisters;
use super::serial::{self, Console, SerialPort};
#[cfg(target_arch = "aarch64")]
use crate::layout::SERIAL_ADDRESS;
use crate::layout::{KEYBOARD_PORT, KEYBOARD_RESET, SERIAL_PORT, SERIAL_PORTS};
use crate::vcpu::{ExitHandler, Step};
use crate::workload::{IDLE_ADDRESS, IDLE_PORT};
use dirtyrate::{Error, Result, names};

/// How long a vCPU rests when it says that it has nothing to do.
const IDLE_REST: Duration = Duration::from_millis(1);

/// The status of a keyboard controller that accepts a command.
const KEYBOARD_READY: u8 = 0;

/// What an access to an address does that has neither memory nor a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownMmio {
    /// The default of what is loaded: [`Ignore`](Self::Ignore) for a kernel from a file, because kernels look for
    /// devices where there are none (Linux 6.15 and later reads 0xfed803c0 on AMD processors); [`Stop`](Self::Stop) for
    /// a guest of [`workload`](crate::workload).
    #[default]
    Auto,
    /// Such an access is a fault of the guest: it stops, and the error names the address.
    Stop,
    /// Reads give all ones and writes have no effect, as on a bus without a device.
    Ignore,
}

impl UnknownMmio {
    /// All values, the default first.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Stop, Self::Ignore];

    /// The name in the API and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Stop => "stop",
            Self::Ignore => "ignore",
        }
    }
}

impl FromStr for UnknownMmio {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("policy for unknown MMIO", name, &Self::ALL, Self::name)
    }
}

/// The machine's devices.
pub(crate) struct Bus {
    serial: Mutex<SerialPort>,
    #[cfg(target_arch = "x86_64")]
    power: PowerRegisters,
    console: Arc<Console>,
    unknown_mmio: UnknownMmio,
    /// Whether [`UnknownMmio::Auto`] means [`UnknownMmio::Ignore`] now.
    ignores: AtomicBool,
}

impl Bus {
    pub fn new(vm: &VmFd, unknown_mmio: UnknownMmio) -> Result<Self> {
        let console = Arc::new(Console::default());
        let serial = Mutex::new(serial::create(vm, Arc::clone(&console))?);
        Ok(Self {
            serial,
            #[cfg(target_arch = "x86_64")]
            power: PowerRegisters::default(),
            console,
            unknown_mmio,
            ignores: AtomicBool::new(false),
        })
    }

    pub fn console(&self) -> &Arc<Console> {
        &self.console
    }

    /// Makes [`UnknownMmio::Auto`] mean [`UnknownMmio::Ignore`], for a kernel that looks for devices where there are
    /// none.
    pub fn ignore_unknown_mmio_by_default(&self) {
        self.ignores.store(true, Ordering::Relaxed);
    }

    fn serial_read(&self, offset: u8) -> u8 {
        self.serial.lock().unwrap_or_else(PoisonError::into_inner).read(offset)
    }

    fn serial_write(&self, offset: u8, byte: u8) {
        if let Err(error) = self.serial.lock().unwrap_or_else(PoisonError::into_inner).write(offset, byte) {
            tracing::warn!(?error, "the serial port could not take a byte");
        }
    }

    fn unknown_mmio(&self, access: &str, address: u64, length: usize) -> Step {
        let ignored = match self.unknown_mmio {
            UnknownMmio::Ignore => true,
            UnknownMmio::Stop => false,
            UnknownMmio::Auto => self.ignores.load(Ordering::Relaxed),
        };
        if ignored {
            return Step::Continue;
        }
        Step::Stop(format!("KVM_EXIT_MMIO: {access} of {length} bytes at {address:#x}, where nothing is"))
    }
}

fn serial_offset(port: u16) -> Option<u8> {
    port.checked_sub(SERIAL_PORT).filter(|offset| *offset < SERIAL_PORTS).map(|offset| offset as u8)
}

/// The port is in memory where there are no ports.
#[cfg(target_arch = "aarch64")]
fn serial_register(address: u64) -> Option<u8> {
    let offset = address.checked_sub(SERIAL_ADDRESS)?;
    (offset < SERIAL_PORTS.into()).then_some(offset as u8)
}

#[cfg(target_arch = "x86_64")]
fn serial_register(_: u64) -> Option<u8> {
    None
}

impl ExitHandler for Bus {
    fn io_in(&self, port: u16, data: &mut [u8]) -> Step {
        // Every kernel probes ports. A port without a device reads all ones, as on a bus.
        data.fill(if port == KEYBOARD_PORT { KEYBOARD_READY } else { 0xff });
        #[cfg(target_arch = "x86_64")]
        if let (Some(value), [low, high]) = (self.power.read(port), &mut *data) {
            [*low, *high] = value.to_le_bytes();
        }
        if let (Some(offset), [byte]) = (serial_offset(port), data) {
            *byte = self.serial_read(offset);
        }
        Step::Continue
    }

    fn io_out(&self, port: u16, data: &[u8]) -> Step {
        if port == IDLE_PORT {
            return Step::Idle(IDLE_REST);
        }
        // This machine has no firmware to start again from, so a reset ends it.
        if (port, data) == (KEYBOARD_PORT, &[KEYBOARD_RESET]) {
            return Step::Shutdown;
        }
        #[cfg(target_arch = "x86_64")]
        if let &[low, high] = data
            && self.power.write(port, u16::from_le_bytes([low, high]))
        {
            return Step::Shutdown;
        }
        if let (Some(offset), [byte]) = (serial_offset(port), data) {
            self.serial_write(offset, *byte);
        }
        Step::Continue
    }

    fn mmio_read(&self, address: u64, data: &mut [u8]) -> Step {
        data.fill(0xff);
        if let (Some(offset), [byte]) = (serial_register(address), &mut *data) {
            *byte = self.serial_read(offset);
            return Step::Continue;
        }
        self.unknown_mmio("a read", address, data.len())
    }

    fn mmio_write(&self, address: u64, data: &[u8]) -> Step {
        if cfg!(target_arch = "aarch64") && address == IDLE_ADDRESS {
            return Step::Idle(IDLE_REST);
        }
        if let (Some(offset), [byte]) = (serial_register(address), data) {
            self.serial_write(offset, *byte);
            return Step::Continue;
        }
        self.unknown_mmio("a write", address, data.len())
    }

    fn ended(&self) {
        self.console.end();
    }
}
