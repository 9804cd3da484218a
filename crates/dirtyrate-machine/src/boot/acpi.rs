//! ACPI tables (ACPI 6.5). They say which CPUs and interrupt controllers there are (MADT), and how the machine is
//! switched off and reset (FADT, `\_S5`). The fixed hardware that they describe is in [`power`](crate::devices::power).

use acpi_tables::Aml;
use acpi_tables::aml::{Name, Package, Path};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

use crate::devices::power::{CONTROL_BYTES, CONTROL_PORT, EVENT_BYTES, EVENT_PORT, OFF};
use crate::layout::{KEYBOARD_PORT, KEYBOARD_RESET};

/// The address of the tables. The RSDP comes first, because Linux looks for it at every 16th byte of the firmware's
/// place, and this address is there.
pub(super) const TABLES: u64 = 0xe_0000;

const OEM: [u8; 6] = *b"DRTYRT";
const OEM_TABLE: [u8; 8] = *b"DRTYRATE";
const OEM_REVISION: u32 = 1;
/// Bytes of the header that each table but the RSDP has.
const HEADER_BYTES: u32 = 36;

/// The addresses at which KVM creates its interrupt controllers.
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;
const IO_APIC_ID: u8 = 0;
/// MADT: the machine also has two 8259 interrupt controllers.
const PCAT_COMPAT: u32 = 1;
/// The first APIC ID that needs an entry for x2APICs, and the type and length of such an entry.
const FIRST_X2APIC: u32 = 255;
const X2APIC: [u8; 4] = [9, 16, 0, 0];
/// The interrupt of the fixed hardware, which never raises it.
const SCI: u16 = 9;
/// FADT, IAPC_BOOT_ARCH: devices on an ISA bus; no VGA to look for; no clock in CMOS.
const LEGACY_DEVICES: u16 = 1 << 0;
const NO_VGA: u16 = 1 << 2;
const NO_CMOS_CLOCK: u16 = 1 << 5;

/// The tables for a machine with `vcpus` vCPUs, whose APIC IDs are their numbers. They must be loaded at [`TABLES`].
pub(super) fn tables(vcpus: u32) -> Vec<u8> {
    let mut tables = vec![0; Rsdp::len()];
    let place = |tables: &mut Vec<u8>, table: &dyn Aml| {
        // Each table is aligned for its largest field.
        tables.resize(tables.len().next_multiple_of(16), 0);
        let address = TABLES + tables.len() as u64;
        table.to_aml_bytes(tables);
        address
    };
    let dsdt = place(&mut tables, &dsdt());
    let fadt = place(&mut tables, &fadt(dsdt));
    let madt = place(&mut tables, &madt(vcpus));
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = place(&mut tables, &xsdt);
    let mut rsdp = Vec::new();
    Rsdp::new(OEM, xsdt).to_aml_bytes(&mut rsdp);
    tables[..rsdp.len()].copy_from_slice(&rsdp);
    tables
}

/// The table that says which value, written to the control register, switches the machine off.
fn dsdt() -> Sdt {
    let mut dsdt = Sdt::new(*b"DSDT", HEADER_BYTES, 2, OEM, OEM_TABLE, OEM_REVISION);
    let mut off = Vec::new();
    Name::new(Path::new("_S5_"), &Package::new(vec![&OFF, &0u8, &0u8, &0u8])).to_aml_bytes(&mut off);
    dsdt.append_slice(&off);
    dsdt
}

fn fadt(dsdt: u64) -> impl Aml {
    let port = |port: u16, bytes: u8, access| GAS::new(AddressSpace::SystemIo, bytes * 8, 0, access, port.into());
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .dsdt_64(dsdt)
        // The flags of the two buttons say that the fixed hardware has no such button. There are no other buttons
        // either.
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::ResetRegSup);
    fadt.sci_int = SCI.into();
    fadt.pm1a_evt_blk = u32::from(EVENT_PORT).into();
    fadt.x_pm1a_evt_blk = port(EVENT_PORT, EVENT_BYTES, AccessSize::WordAccess);
    fadt.pm1_evt_len = EVENT_BYTES;
    fadt.pm1a_cnt_blk = u32::from(CONTROL_PORT).into();
    fadt.x_pm1a_cnt_blk = port(CONTROL_PORT, CONTROL_BYTES, AccessSize::WordAccess);
    fadt.pm1_cnt_len = CONTROL_BYTES;
    fadt.iapc_boot_arch = (LEGACY_DEVICES | NO_VGA | NO_CMOS_CLOCK).into();
    fadt.reset_reg = port(KEYBOARD_PORT, 1, AccessSize::ByteAccess);
    fadt.reset_value = KEYBOARD_RESET;
    fadt.finalize()
}

/// The table of the CPUs and interrupt controllers. Each interrupt of the ISA bus goes to the IOAPIC's pin with the
/// same number, which is KVM's routing by default.
fn madt(vcpus: u32) -> Sdt {
    let mut madt = Sdt::new(*b"APIC", HEADER_BYTES, 5, OEM, OEM_TABLE, OEM_REVISION);
    let mut entries = [LOCAL_APIC.to_le_bytes(), PCAT_COMPAT.to_le_bytes()].concat();
    for id in 0..vcpus {
        if id < FIRST_X2APIC {
            ProcessorLocalApic::new(id as u8, id as u8, EnabledStatus::Enabled).to_aml_bytes(&mut entries);
        } else {
            let enabled = EnabledStatus::Enabled as u32;
            entries.extend([X2APIC, id.to_le_bytes(), enabled.to_le_bytes(), id.to_le_bytes()].concat());
        }
    }
    IoApic::new(IO_APIC_ID, IO_APIC, 0).to_aml_bytes(&mut entries);
    madt.append_slice(&entries);
    madt
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four")) as usize
    }

    /// The table at an address. Checks that its bytes add up to 0 over the length that it states.
    fn table_at<'a>(tables: &'a [u8], at: &[u8], signature: &[u8]) -> &'a [u8] {
        let address = u64::from_le_bytes(at.try_into().expect("eight"));
        let table = &tables[(address - TABLES) as usize..];
        let table = &table[..u32_at(table, 4)];
        assert_eq!(&table[..4], signature);
        assert_eq!(table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0, "{signature:?}");
        table
    }

    #[test]
    fn every_table_is_found_from_the_first_and_sums_to_nothing() {
        for vcpus in [1, 3, 254, 255, 256, 1000] {
            let tables = tables(vcpus);
            let rsdp = &tables[..36];
            assert_eq!((&rsdp[..8], rsdp[15]), (&b"RSD PTR "[..], 2));
            for part in [&rsdp[..20], rsdp] {
                assert_eq!(part.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
            }
            let xsdt = table_at(&tables, &rsdp[24..32], b"XSDT");
            assert_eq!(xsdt.len(), 36 + 2 * 8);

            let fadt = table_at(&tables, &xsdt[36..44], b"FACP");
            assert_eq!((u32_at(fadt, 56), fadt[88], u32_at(fadt, 64), fadt[89]), (0x600, 4, 0x604, 2), "PM1a");
            // RESET_REG: space, width, offset, access, address; then its value.
            assert_eq!(fadt[116..129], [1, 8, 0, 1, 0x64, 0, 0, 0, 0, 0, 0, 0, 0xfe]);
            let dsdt = table_at(&tables, &fadt[140..148], b"DSDT");
            // Name (_S5_, Package () {5, 0, 0, 0}); 0 is an opcode of its own.
            assert_eq!(dsdt[36..], *b"\x08_S5_\x12\x07\x04\x0a\x05\0\0\0");

            let madt = table_at(&tables, &xsdt[44..52], b"APIC");
            assert_eq!((u32_at(madt, 36), u32_at(madt, 40)), (0xfee0_0000, 1));
            let mut entries = &madt[44..];
            let mut ids = Vec::new();
            let mut io_apics = Vec::new();
            while let [kind, length, ..] = *entries {
                let (entry, rest) = entries.split_at(length.into());
                match (kind, length) {
                    (0, 8) => ids.push((usize::from(entry[2]), usize::from(entry[3]), u32_at(entry, 4))),
                    (9, 16) => ids.push((u32_at(entry, 12), u32_at(entry, 4), u32_at(entry, 8))),
                    (1, 12) => io_apics.push((entry[2], u32_at(entry, 4), u32_at(entry, 8))),
                    _ => panic!("an entry of type {kind} and {length} bytes"),
                }
                entries = rest;
            }
            assert!(entries.is_empty());
            assert_eq!(ids, (0..vcpus as usize).map(|id| (id, id, 1)).collect::<Vec<_>>());
            assert_eq!(io_apics, [(0, 0xfec0_0000, 0)]);
        }
    }
}
