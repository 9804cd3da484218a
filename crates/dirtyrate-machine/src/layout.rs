//! The layout of the guest's physical address space. It is the same on both architectures, except for what lies in the
//! hole.

use crate::vm::BlockSpec;
use dirtyrate::{Error, Result};

/// The hole, in which no RAM is laid out, begins here and ends at 4 GiB. Interrupt controllers, firmware and PCI have
/// their places in it.
pub const HOLE_START: u64 = 3 << 30;
/// The end of the hole, where RAM goes on.
pub const HOLE_END: u64 = 4 << 30;
/// The smallest amount of RAM. The first MiB is for boot parameters, and a kernel starts at 1 MiB.
pub const LEAST_BYTES: u64 = 2 << 20;
/// The largest amount of RAM: the address space of the page tables that our guests build, minus the hole at its
/// largest.
pub const MOST_BYTES: u64 = (1 << 47) - (HOLE_END - low_bytes(u64::MAX));

/// There can be no RAM from here to 4 GiB, because the IOAPIC, the local APICs, and the pages that KVM uses for real
/// mode on Intel lie there.
#[cfg(target_arch = "x86_64")]
const DEVICES_START: u64 = 0xfec0_0000;
/// There can be no RAM from here to 4 GiB, because the GIC, the serial port, and the address to which an idle guest
/// writes lie there.
#[cfg(target_arch = "aarch64")]
const DEVICES_START: u64 = REDISTRIBUTORS;

/// arm64: the GIC's redistributors, one after the other in the order of the vCPUs: two frames of 64 KiB each, and room
/// for 1024.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const REDISTRIBUTORS: u64 = 0xf000_0000;
/// arm64: the size of one redistributor in bytes.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const REDISTRIBUTOR_BYTES: u64 = 2 * (64 << 10);
/// arm64: the GIC's distributor.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const DISTRIBUTOR: u64 = 0xf800_0000;
/// arm64: the size of the distributor in bytes.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const DISTRIBUTOR_BYTES: u64 = 64 << 10;
/// arm64: the serial port's registers.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const SERIAL_ADDRESS: u64 = 0xf900_0000;

/// Checks that a block does not overlap the interrupt controllers.
pub(crate) fn check_clear_of_devices(spec: &BlockSpec) -> Result<()> {
    let end = spec.guest_address.saturating_add(spec.bytes);
    if spec.guest_address < HOLE_END && end > DEVICES_START {
        let problem = format!(
            "{:#x}..{end:#x} covers {DEVICES_START:#x}..{HOLE_END:#x}, where the interrupt controllers are",
            spec.guest_address
        );
        return Err(Error::Layout { block: spec.name.clone(), problem });
    }
    Ok(())
}

/// The command port of the keyboard controller, and its command to reset the CPU.
pub(crate) const KEYBOARD_PORT: u16 = 0x64;
pub(crate) const KEYBOARD_RESET: u8 = 0xfe;

/// The base of the first serial port.
pub(crate) const SERIAL_PORT: u16 = 0x3f8;
/// How many ports, or registers, the serial port has.
pub(crate) const SERIAL_PORTS: u16 = 8;
/// The interrupt line of the serial port. On arm64 it is one of the GIC's shared interrupts.
pub(crate) const SERIAL_IRQ: u32 = 4;

/// How much of `bytes` of RAM lies below the hole: as much as fits. On x86-64, if there is more RAM, it is as much as
/// in QEMU's `q35`, so that a file that is linked for one of them boots in the other one too.
#[cfg(target_arch = "x86_64")]
const fn low_bytes(bytes: u64) -> u64 {
    /// From this amount of RAM on, only 2 GiB of it lie below the hole (`pc_q35_init`).
    const SPLIT: u64 = 0xb000_0000;
    if bytes < SPLIT { bytes } else { 2 << 30 }
}

#[cfg(target_arch = "aarch64")]
const fn low_bytes(bytes: u64) -> u64 {
    if bytes < HOLE_START { bytes } else { HOLE_START }
}

/// A size in the largest unit in which it is a whole number, such as `2MiB`.
fn in_units(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.into_iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    unit.map_or_else(|| format!("{bytes} bytes"), |(name, shift)| format!("{}{name}", bytes >> shift))
}

/// Lays `bytes` of RAM out around the hole: one block `ram`, or a block `ram-low` below the hole and a block `ram-high`
/// from 4 GiB on.
///
/// # Errors
///
/// [`Error::Argument`] for less than 2 MiB, for more than 128 TiB minus the hole, and for a size that is not a multiple
/// of the page size.
pub fn around_the_hole(bytes: u64, page_size: u64) -> Result<Vec<BlockSpec>> {
    if !(LEAST_BYTES..=MOST_BYTES).contains(&bytes) || !bytes.is_multiple_of(page_size) {
        return Err(Error::Argument(format!(
            "memory of {}: give {} to {}, a multiple of the page size, {page_size} bytes",
            in_units(bytes),
            in_units(LEAST_BYTES),
            in_units(MOST_BYTES)
        )));
    }
    let block = |name: &str, guest_address, bytes| BlockSpec { name: name.to_owned(), guest_address, bytes };
    let low = low_bytes(bytes);
    Ok(if low == bytes {
        vec![block("ram", 0, bytes)]
    } else {
        vec![block("ram-low", 0, low), block("ram-high", HOLE_END, bytes - low)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_units() {
        let told = [0, 1, 4096, 2 << 20, (2 << 20) + 1, 3 << 30, MOST_BYTES, 1 << 40].map(in_units);
        let most = format!("{}GiB", MOST_BYTES >> 30);
        assert_eq!(told, ["0 bytes", "1 bytes", "4KiB", "2MiB", "2097153 bytes", "3GiB", &most, "1TiB"]);
    }

    #[test]
    fn ram_goes_around_the_hole_and_none_is_lost() {
        let three_pages = 3 * 4096;
        for bytes in [2 << 20, (1 << 30) + three_pages, 11 << 28, 3 << 30, (3 << 30) + three_pages, MOST_BYTES] {
            let blocks = around_the_hole(bytes, 4096).expect("a good size");
            assert_eq!(blocks.iter().map(|block| block.bytes).sum::<u64>(), bytes);
            for block in &blocks {
                let end = block.guest_address + block.bytes;
                assert!(end <= HOLE_START || block.guest_address >= HOLE_END, "{block:?} is in the hole");
                assert!(end <= 1 << 47, "{block:?} is beyond what page tables have");
            }
        }
    }

    #[test]
    fn a_block_over_the_interrupt_controllers_is_refused_by_name() {
        let block = |guest_address, bytes| BlockSpec { name: "big".to_owned(), guest_address, bytes };
        for (guest_address, bytes) in [(0, 5 << 30), (DEVICES_START, 4096), (0xffff_f000, 4096), (3 << 30, 1 << 30)] {
            let text = check_clear_of_devices(&block(guest_address, bytes)).expect_err("a device is there").to_string();
            assert!(text.contains("'big'") && text.contains("interrupt controllers"), "{text}");
        }
        for (guest_address, bytes) in [(0, DEVICES_START), (4 << 30, 1 << 40), (3 << 30, 4096)] {
            check_clear_of_devices(&block(guest_address, bytes)).expect("nothing is there");
        }
    }

    #[test]
    fn sizes_that_no_machine_has_are_refused() {
        for bytes in [0, 4096, (2 << 20) + 1, 1 << 60, u64::MAX] {
            assert!(around_the_hole(bytes, 4096).is_err(), "{bytes}");
        }
    }
}
