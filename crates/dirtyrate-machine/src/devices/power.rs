//! The part of ACPI's fixed hardware (ACPI 6.5, 4.8.3) that a machine needs which can only be switched off: the PM1
//! event registers, which never have an event, and the PM1 control register.

use std::sync::atomic::{AtomicU16, Ordering};

/// The ports of the status register and, after it, the enable register.
pub(crate) const EVENT_PORT: u16 = 0x600;
pub(crate) const EVENT_BYTES: u8 = 4;
/// The port of the control register.
pub(crate) const CONTROL_PORT: u16 = EVENT_PORT + EVENT_BYTES as u16;
pub(crate) const CONTROL_BYTES: u8 = 2;

/// The type of sleep, SLP_TYP, that means off.
pub(crate) const OFF: u8 = 5;

const ENABLE_PORT: u16 = EVENT_PORT + 2;
/// The machine is in ACPI mode, always.
const SCI_EN: u16 = 1 << 0;
const SLP_TYP_SHIFT: u16 = 10;
const SLP_TYP: u16 = 7 << SLP_TYP_SHIFT;
const SLP_EN: u16 = 1 << 13;

/// The registers.
#[derive(Default)]
pub(crate) struct PowerRegisters {
    /// What was last written to the enable register, which the guest can read back.
    enable: AtomicU16,
    control: AtomicU16,
}

impl PowerRegisters {
    /// Reads a port; `None` if the port belongs to another device.
    pub fn read(&self, port: u16) -> Option<u16> {
        match port {
            EVENT_PORT => Some(0),
            ENABLE_PORT => Some(self.enable.load(Ordering::Relaxed)),
            CONTROL_PORT => Some(self.control.load(Ordering::Relaxed) | SCI_EN),
            _ => None,
        }
    }

    /// Writes a port, and says whether the machine is off now.
    pub fn write(&self, port: u16, value: u16) -> bool {
        match port {
            ENABLE_PORT => self.enable.store(value, Ordering::Relaxed),
            // SLP_EN can only be written. A type of sleep other than [`OFF`] has no effect.
            CONTROL_PORT => {
                self.control.store(value & !SLP_EN, Ordering::Relaxed);
                return value & (SLP_EN | SLP_TYP) == SLP_EN | u16::from(OFF) << SLP_TYP_SHIFT;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_type_of_sleep_that_the_tables_name_is_off_and_only_with_its_bit() {
        for value in 0..=u16::MAX {
            let registers = PowerRegisters::default();
            let off = registers.write(CONTROL_PORT, value);
            assert_eq!(off, value >> 13 & 1 == 1 && value >> 10 & 7 == 5, "{value:#x}");
            let read = registers.read(CONTROL_PORT).expect("a register");
            assert_eq!(read, value & 0xdfff | 1, "{value:#x}");
            assert!(!registers.write(EVENT_PORT, value) && !registers.write(EVENT_PORT + 2, value));
            assert_eq!((registers.read(EVENT_PORT), registers.read(EVENT_PORT + 2)), (Some(0), Some(value)));
        }
    }
}
