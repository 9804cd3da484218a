//! The serial port, and the console that keeps its output.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use kvm_ioctls::VmFd;
use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::layout::SERIAL_IRQ;
use dirtyrate::{CancelToken, Error, Result};

/// How many bytes of output are kept for a reader that comes late. The oldest bytes are dropped first.
const CONSOLE_BYTES: usize = 1 << 20;

/// How often a waiting reader checks whether it was cancelled.
const CANCEL_INTERVAL: Duration = Duration::from_millis(20);

/// The output of the serial port.
#[derive(Debug, Default)]
pub struct Console {
    output: Mutex<Output>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Output {
    bytes: VecDeque<u8>,
    ended: bool,
}

impl Console {
    /// Waits for output and takes all of it; `None` when the machine has ended and everything was read. A character of
    /// several bytes is kept back until it is complete. Bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`].
    pub fn read(&self, cancel: &CancelToken) -> Result<Option<String>> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            cancel.check()?;
            let whole =
                if output.ended { output.bytes.len() } else { whole_characters(output.bytes.make_contiguous()) };
            if whole > 0 {
                let bytes: Vec<u8> = output.bytes.drain(..whole).collect();
                return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
            }
            if output.ended {
                return Ok(None);
            }
            output = self.changed.wait_timeout(output, CANCEL_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Notes that no more output will come.
    pub(crate) fn end(&self) {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_all();
    }
}

/// How many bytes can be taken: up to the last complete character, or up to a character that can never become complete.
fn whole_characters(bytes: &[u8]) -> usize {
    // The longest character has four bytes, so only the last three can be the beginning of one.
    let tail = bytes.len().saturating_sub(3);
    let begins = |&at: &usize| {
        let unfinished = std::str::from_utf8(&bytes[at..]).err();
        unfinished.is_some_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    (tail..bytes.len()).find(begins).unwrap_or(bytes.len())
}

/// The serial port's side of the console.
pub(crate) struct ConsoleWriter(Arc<Console>);

impl Write for ConsoleWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut output = self.0.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.bytes.extend(bytes);
        let excess = output.bytes.len().saturating_sub(CONSOLE_BYTES);
        output.bytes.drain(..excess);
        self.0.changed.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The port's interrupt line, which the kernel raises when the descriptor is written.
pub(crate) struct Interrupt(EventFd);

impl Trigger for Interrupt {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// The port itself.
pub(crate) type SerialPort = Serial<Interrupt, NoEvents, ConsoleWriter>;

/// Makes a serial port that is connected to the VM's interrupt controller.
pub(crate) fn create(vm: &VmFd, console: Arc<Console>) -> Result<SerialPort> {
    let line = EventFd::new(EFD_NONBLOCK)
        .map_err(|source| Error::refused("eventfd", "the serial port's interrupt", source))?;
    vm.register_irqfd(&line, SERIAL_IRQ)
        .map_err(|errno| Error::ioctl("KVM_IRQFD", format!("line {SERIAL_IRQ}"), errno))?;
    Ok(Serial::new(Interrupt(line), ConsoleWriter(console)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_comes_byte_by_byte_is_read_whole() {
        let text = "Grüße, 世界 🦀!";
        let console = Arc::new(Console::default());
        let mut port = ConsoleWriter(Arc::clone(&console));
        let mut read = String::new();
        for byte in text.bytes() {
            port.write_all(&[byte]).expect("it takes everything");
            if whole_characters(console.output.lock().expect("no panic").bytes.make_contiguous()) > 0 {
                read += &console.read(&CancelToken::new()).expect("not cancelled").expect("not ended");
            }
        }
        assert_eq!(read, text);
        port.write_all(&[0xc3]).expect("it takes everything");
        console.end();
        assert_eq!(console.read(&CancelToken::new()).expect("not cancelled").as_deref(), Some("\u{fffd}"));
        assert_eq!(console.read(&CancelToken::new()).expect("not cancelled"), None);
    }

    #[test]
    fn what_can_never_become_a_character_is_not_held_back() {
        assert_eq!(whole_characters(&[b'a', 0xff]), 2);
        assert_eq!(whole_characters(&[b'a', 0xc3]), 1);
        assert_eq!(whole_characters(&[0xf0, 0x9f, 0xa6]), 0);
        assert_eq!(whole_characters(&[0xf0, 0x9f, b'a']), 3);
        assert_eq!(whole_characters(&[]), 0);
    }
}
