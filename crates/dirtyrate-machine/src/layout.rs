//! Where things are in the guest's physical address space: the same on both architectures, but for what is in the hole.

use crate::vm::BlockSpec;
use dirtyrate::{Error, Result};

/// RAM is not laid out from here to 4 GiB: the interrupt controllers, the firmware's place and PCI are there.
pub const HOLE_START: u64 = 3 << 30;
/// Where RAM goes on.
pub const HOLE_END: u64 = 4 << 30;
/// The least RAM: the first MiB is for what hands over to the kernel, and a kernel starts at 1 MiB.
pub const LEAST_BYTES: u64 = 2 << 20;
/// The most RAM: the address space of the page tables that our guests build, less the hole at its largest.
pub const MOST_BYTES: u64 = (1 << 47) - (HOLE_END - low_bytes(u64::MAX));

/// From here to 4 GiB no RAM can be: the IOAPIC, the local APICs, and the pages that KVM takes for real mode on Intel.
#[cfg(target_arch = "x86_64")]
const DEVICES_START: u64 = 0xfec0_0000;
/// From here to 4 GiB no RAM can be: the GIC, the serial port, and where an idle guest writes to.
#[cfg(target_arch = "aarch64")]
const DEVICES_START: u64 = REDISTRIBUTORS;

/// arm64: the GIC's redistributors, one after the other in the order of the vCPUs: two frames of 64 KiB each, and room for 1024.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const REDISTRIBUTORS: u64 = 0xf000_0000;
/// arm64: bytes of one of them.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const REDISTRIBUTOR_BYTES: u64 = 2 * (64 << 10);
/// arm64: the GIC's distributor.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const DISTRIBUTOR: u64 = 0xf800_0000;
/// arm64: bytes of it.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const DISTRIBUTOR_BYTES: u64 = 64 << 10;
/// arm64: the serial port's registers.
#[cfg(any(target_arch = "aarch64", test, fuzzing))]
pub(crate) const SERIAL_ADDRESS: u64 = 0xf900_0000;

/// Checks that a block leaves the place of the interrupt controllers alone.
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
/// How many ports, or registers, it has.
pub(crate) const SERIAL_PORTS: u16 = 8;
/// Its interrupt line; of the GIC's shared ones, on arm64.
pub(crate) const SERIAL_IRQ: u32 = 4;

/// How much of `bytes` of RAM is below the hole: as much as fits; of more on x86-64 what QEMU's `q35` has there, so that a file that is
/// linked for the one boots in the other.
#[cfg(target_arch = "x86_64")]
const fn low_bytes(bytes: u64) -> u64 {
    /// From so much RAM on there are only 2 GiB of it below the hole (`pc_q35_init`).
    const SPLIT: u64 = 0xb000_0000;
    if bytes < SPLIT { bytes } else { 2 << 30 }
}

#[cfg(target_arch = "aarch64")]
const fn low_bytes(bytes: u64) -> u64 {
    if bytes < HOLE_START { bytes } else { HOLE_START }
}

/// Lays `bytes` of RAM out around the hole: one block `ram`, or `ram-low` below it and `ram-high` from 4 GiB.
///
/// # Errors
///
/// [`Error::Argument`] for less than 2 MiB, more than 128 TiB less the hole, or not whole pages.
pub fn around_the_hole(bytes: u64, page_size: u64) -> Result<Vec<BlockSpec>> {
    if !(LEAST_BYTES..=MOST_BYTES).contains(&bytes) || !bytes.is_multiple_of(page_size) {
        return Err(Error::Argument(format!(
            "memory of {bytes} bytes: give {LEAST_BYTES} to {MOST_BYTES} bytes, a multiple of {page_size}"
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
