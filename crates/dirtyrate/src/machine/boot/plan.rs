//! What a load will write into guest memory, checked as a whole before its first byte is written: a load that fails leaves
//! nothing behind.

use std::borrow::Cow;
use std::ops::Range;

use vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::error::Result;
use crate::kvm::Vm;

/// Zeros are written in pieces of this size.
const ZEROS: &[u8] = &[0; 64 << 10];

/// Writes to come.
#[derive(Default)]
pub(super) struct Plan<'a> {
    bytes: Vec<(u64, Cow<'a, [u8]>)>,
    zeros: Vec<(u64, u64)>,
    free: Vec<(u64, u64)>,
}

impl<'a> Plan<'a> {
    /// These bytes will be at `guest_address`; the range does not wrap around.
    pub fn write(&mut self, guest_address: u64, bytes: impl Into<Cow<'a, [u8]>>) {
        self.bytes.push((guest_address, bytes.into()));
    }

    /// `length` bytes from `guest_address` will be zero.
    pub fn zero(&mut self, guest_address: u64, length: u64) {
        self.zeros.push((guest_address, length));
    }

    /// Nothing else will be in `length` bytes from `guest_address`, where what is loaded unpacks itself.
    pub fn keep_free(&mut self, guest_address: u64, length: u64) {
        self.free.push((guest_address, length));
    }

    /// The first range, by address and length, that is not in RAM.
    pub fn outside_ram(&self, vm: &Vm) -> Option<(u64, u64)> {
        let memory = vm.memory();
        self.ranges().find(|&(address, length)| {
            let Ok(length) = usize::try_from(length) else { return true };
            !memory.check_range(GuestAddress(address), length)
        })
    }

    /// Whether anything is written, or kept free, in `range`.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        self.ranges().any(|(address, length)| address < range.end && address + length > range.start)
    }

    /// Where the last byte of all that is, and one more.
    pub fn end(&self) -> u64 {
        self.ranges().map(|(address, length)| address + length).max().unwrap_or(0)
    }

    /// What is written or kept free, by address and length; none is empty, and none wraps around.
    fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let bytes = self.bytes.iter().map(|(address, bytes)| (*address, bytes.len() as u64));
        bytes.chain(self.zeros.iter().chain(&self.free).copied()).filter(|&(_, length)| length > 0)
    }

    /// Writes it all, as the host's writes that they are.
    pub fn carry_out(self, vm: &Vm) -> Result<()> {
        for (address, length) in self.zeros {
            let mut written = 0;
            while written < length {
                let piece = (length - written).min(ZEROS.len() as u64);
                vm.write_memory(address + written, &ZEROS[..piece as usize])?;
                written += piece;
            }
        }
        self.bytes.into_iter().try_for_each(|(address, bytes)| vm.write_memory(address, &bytes))
    }
}
