//! The plan of a load: what it will write into guest memory. The whole plan is checked before its first byte is
//! written. When it is carried out, files are read piece by piece, and the caller can end the load between two pieces.

use std::borrow::Cow;
use std::ops::Range;

use super::file::{BootFile, Extent};
use super::ram::Ram;
use crate::vm::Vm;
use dirtyrate::Result;

/// A file is read in pieces of this size, and the load can be ended between two pieces.
const PIECE: u64 = 1 << 20;
/// Zeros are made in pieces of this size.
const ZEROS: u64 = 1 << 30;

/// Bytes that go to one place.
enum Source<'a> {
    Bytes(Cow<'a, [u8]>),
    File { file: &'a BootFile<'a>, offset: u64, length: u64 },
}

impl Source<'_> {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

/// The writes of one load, which are planned but not made yet.
#[derive(Default)]
pub(super) struct Plan<'a> {
    writes: Vec<(u64, Source<'a>)>,
    zeros: Vec<(u64, u64)>,
    free: Vec<(u64, u64)>,
}

impl<'a> Plan<'a> {
    /// Plans to write `bytes` at `guest_address`. The range must not wrap around.
    pub fn write(&mut self, guest_address: u64, bytes: impl Into<Cow<'a, [u8]>>) {
        self.writes.push((guest_address, Source::Bytes(bytes.into())));
    }

    /// Plans to write `length` bytes of a file, from `offset` on, at `guest_address`. Neither range may wrap around.
    pub fn write_file(&mut self, guest_address: u64, file: &'a BootFile<'a>, offset: u64, length: u64) {
        self.writes.push((guest_address, Source::File { file, offset, length }));
    }

    /// Plans that `length` bytes from `guest_address` on are zero, except where something else is written.
    pub fn zero(&mut self, guest_address: u64, length: u64) {
        self.zeros.push((guest_address, length));
    }

    /// Keeps `length` bytes from `guest_address` on free, because the kernel unpacks itself there.
    pub fn keep_free(&mut self, guest_address: u64, length: u64) {
        self.free.push((guest_address, length));
    }

    /// The first range, by address and length, that is not in RAM.
    pub fn outside_ram(&self, ram: &Ram) -> Option<(u64, u64)> {
        self.ranges().find(|&(address, length)| !ram.has(address, length))
    }

    /// The first address to which two writes of the plan go.
    pub fn overlap(&self) -> Option<u64> {
        let mut ranges: Vec<_> = self.writes().collect();
        ranges.sort_unstable();
        ranges.windows(2).find(|pair| pair[0].0 + pair[0].1 > pair[1].0).map(|pair| pair[1].0)
    }

    /// Whether anything is written, or kept free, in `range`.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        self.ranges().any(|(address, length)| address < range.end && address + length > range.start)
    }

    /// The address behind the last byte that is written or kept free.
    pub fn end(&self) -> u64 {
        self.ranges().map(|(address, length)| address + length).max().unwrap_or(0)
    }

    /// The ranges that are written, each as address and length. No range is empty.
    pub fn writes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.writes.iter().map(|(address, source)| (*address, source.length())).filter(|&(_, length)| length > 0)
    }

    /// The ranges that are written or kept free, each as address and length. No range is empty or wraps around.
    fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let others = self.zeros.iter().chain(&self.free).copied();
        self.writes().chain(others.filter(|&(_, length)| length > 0))
    }

    /// Refuses a kernel that does not lie in RAM completely, or that overlaps a range that is `taken` for its boot
    /// parameters.
    pub fn check_room(&self, ram: &Ram, kernel: &BootFile, taken: &[Range<u64>]) -> Result<()> {
        if let Some((address, length)) = self.outside_ram(ram) {
            let end = ram.end();
            return Err(kernel.refusal(format!(
                "larger than memory: {length} bytes at {address:#x} are not all in RAM, which ends at {end:#x}"
            )));
        }
        match taken.iter().find(|range| self.touches(range)) {
            Some(Range { start, end }) => {
                Err(kernel.refusal(format!("it lies at {start:#x}..{end:#x}, where the boot parameters go")))
            }
            None => Ok(()),
        }
    }

    /// Makes all writes, which count as writes of the host. An error of `go_on` ends this early, and then every range
    /// that was begun is zeroed.
    pub fn carry_out(&self, vm: &Vm, go_on: &dyn Fn() -> Result<()>) -> Result<()> {
        let mut begun = 0;
        self.write_all(vm, go_on, &mut begun).inspect_err(|_| {
            for (address, source) in &self.writes[..begun] {
                let (address, length) = (*address, source.length());
                if let Err(error) = vm.zero_memory(address, length) {
                    tracing::warn!(%error, "a part of a failed load stays behind");
                }
            }
        })
    }

    fn write_all(&self, vm: &Vm, go_on: &dyn Fn() -> Result<()>, begun: &mut usize) -> Result<()> {
        for (address, length) in united(&self.zeros) {
            let mut done = 0;
            while done < length {
                go_on()?;
                let piece = (length - done).min(ZEROS);
                vm.zero_memory(address + done, piece)?;
                done += piece;
            }
        }
        for (address, source) in &self.writes {
            go_on()?;
            *begun += 1;
            match source {
                Source::Bytes(bytes) => vm.write_memory(*address, bytes)?,
                &Source::File { file, offset, length } => copy(vm, go_on, *address, file, offset, length)?,
            }
        }
        Ok(())
    }
}

/// Copies a part of a file into guest memory. Zeros are not written, so that they take no memory of the host.
fn copy(
    vm: &Vm,
    go_on: &dyn Fn() -> Result<()>,
    address: u64,
    file: &BootFile,
    offset: u64,
    length: u64,
) -> Result<()> {
    let mut buffer = Vec::new();
    let mut done = 0;
    while done < length {
        go_on()?;
        match file.extent(offset + done, length - done)? {
            Extent::Hole(hole) => {
                let hole = hole.min(ZEROS);
                vm.zero_memory(address + done, hole)?;
                done += hole;
            }
            Extent::Data(data) => {
                buffer.resize(data.min(PIECE) as usize, 0);
                file.read_into(offset + done, &mut buffer)?;
                if buffer.iter().all(|&byte| byte == 0) {
                    vm.zero_memory(address + done, buffer.len() as u64)?;
                } else {
                    vm.write_memory(address + done, &buffer)?;
                }
                done += buffer.len() as u64;
            }
        }
    }
    Ok(())
}

/// Joins ranges that overlap or touch.
fn united(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable();
    let mut united: Vec<(u64, u64)> = Vec::with_capacity(sorted.len());
    for (address, length) in sorted {
        match united.last_mut() {
            Some(last) if address <= last.0 + last.1 => last.1 = last.1.max(address + length - last.0),
            _ => united.push((address, length)),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::{BlockSpec, VmOptions};
    use dirtyrate::Error;

    /// A VM with 16 MiB of RAM, unless there is no KVM and none is demanded.
    fn vm() -> Option<Vm> {
        let mut vm = match Vm::new(&VmOptions::default()) {
            Ok(vm) => vm,
            Err(error) => {
                assert!(std::env::var_os("DIRTYRATE_REQUIRE_KVM").is_none(), "KVM is required here: {error}");
                return None;
            }
        };
        vm.create_vcpus(1).expect("a vCPU");
        vm.add_block(&BlockSpec { name: "ram".to_owned(), guest_address: 0, bytes: 16 << 20 }).expect("RAM");
        Some(vm)
    }

    #[test]
    fn a_load_that_is_ended_between_two_pieces_leaves_zeros_where_it_had_begun() {
        let Some(vm) = vm() else { return };
        let bytes = vec![7; 5 << 20];
        let path = std::env::temp_dir().join(format!("dirtyrate-plan-{}", std::process::id()));
        std::fs::write(&path, &bytes).expect("a file");
        let file = BootFile::open(&path, "kernel").expect("it opens");
        std::fs::remove_file(&path).expect("clean-up");
        let mut plan = Plan::default();
        plan.write(0x1000, &[1; 5][..]);
        plan.write_file(1 << 20, &file, 0, file.length());
        plan.write(0x2000, &[2; 5][..]);
        vm.write_memory(0x2000, &[3; 5]).expect("RAM");
        let looks = std::cell::Cell::new(0);
        let stopped = plan.carry_out(&vm, &|| {
            looks.set(looks.get() + 1);
            // Some of the file is there by then.
            if looks.get() == 5 {
                let mut byte = [0];
                vm.read_memory(1 << 20, &mut byte)?;
                assert_eq!(byte, [7]);
                return Err(Error::Cancelled);
            }
            Ok(())
        });
        assert!(matches!(stopped, Err(Error::Cancelled)));
        let mut memory = vec![1; 16 << 20];
        vm.read_memory(0, &mut memory).expect("RAM");
        assert_eq!(memory[0x2000..0x2005], [3; 5], "what had not begun is as it was");
        memory[0x2000..0x2005].fill(0);
        assert!(memory.iter().all(|&byte| byte == 0));
        plan.carry_out(&vm, &|| Ok(())).expect("nobody ends it");
        vm.read_memory(1 << 20, &mut memory[..5 << 20]).expect("RAM");
        assert!(memory[..5 << 20].iter().all(|&byte| byte == 7));
    }

    #[test]
    fn ranges_that_overlap_become_one() {
        assert_eq!(united(&[(10, 5), (0, 5), (5, 2), (12, 9), (30, 1), (11, 1)]), [(0, 7), (10, 11), (30, 1)]);
    }

    #[test]
    fn two_writes_for_one_address_are_seen_and_neighbours_are_not() {
        let mut plan = Plan::default();
        for (address, bytes) in [(10, &[1; 5][..]), (15, &[2; 5]), (0, &[3; 10]), (17, &[])] {
            plan.write(address, bytes);
        }
        assert_eq!(plan.overlap(), None);
        plan.write(19, &[4][..]);
        assert_eq!(plan.overlap(), Some(19));
    }
}
