//! The device tree that an arm64 kernel gets. It describes memory, vCPUs and devices (Devicetree Specification 0.4, and
//! Linux, Documentation/devicetree/bindings).

use vm_fdt::{Error, FdtReserveEntry, FdtWriter};

use super::ram::Ram;
use crate::layout::{
    DISTRIBUTOR, DISTRIBUTOR_BYTES, REDISTRIBUTOR_BYTES, REDISTRIBUTORS, SERIAL_ADDRESS, SERIAL_IRQ, SERIAL_PORTS,
};

/// The handle by which other nodes refer to the interrupt controller.
const GIC: u32 = 1;
// The kinds of interrupts of a GIC.
const SHARED: u32 = 0;
const PRIVATE: u32 = 1;
const EDGE: u32 = 1;
const LEVEL_LOW: u32 = 8;
/// The timers' private interrupts as every arm64 has them: secure, non-secure, virtual, hypervisor's.
const TIMERS: [u32; 4] = [13, 14, 11, 10];
/// The clock of a 16550 serial port, in Hz.
const SERIAL_CLOCK: u32 = 1_843_200;
/// How many vCPUs have the same Aff1 (KVM's `reset_mpidr`).
const VCPUS_PER_CLUSTER: u64 = 16;

/// The tree for a machine, which will be loaded at `address`. `initrd` is the address and length of the initrd. The
/// tree reserves its own memory and the initrd's, as U-Boot does, so that a kernel which only reads the memory nodes
/// does not overwrite them.
pub(super) fn blob(ram: &Ram, address: u64, cmdline: &str, initrd: Option<(u64, u64)>) -> Result<Vec<u8>, Error> {
    // The length of the tree does not depend on the lengths that it contains.
    let length = tree(ram, (address, 1), cmdline, initrd)?.len() as u64;
    tree(ram, (address, length), cmdline, initrd)
}

fn tree(ram: &Ram, own: (u64, u64), cmdline: &str, initrd: Option<(u64, u64)>) -> Result<Vec<u8>, Error> {
    let vcpus = u64::from(ram.vcpus);
    let reserved = [Some(own), initrd].into_iter().flatten();
    let reserved: Vec<_> =
        reserved.map(|(start, length)| FdtReserveEntry::new(start, length)).collect::<Result<_, _>>()?;
    let mut tree = FdtWriter::new_with_mem_reserv(&reserved)?;
    let root = tree.begin_node("")?;
    tree.property_string("compatible", "linux,dummy-virt")?;
    tree.property_u32("#address-cells", 2)?;
    tree.property_u32("#size-cells", 2)?;
    tree.property_u32("interrupt-parent", GIC)?;

    let node = tree.begin_node("chosen")?;
    tree.property_string("bootargs", cmdline)?;
    tree.property_string("stdout-path", &format!("/serial@{SERIAL_ADDRESS:x}"))?;
    if let Some((start, length)) = initrd {
        tree.property_u64("linux,initrd-start", start)?;
        tree.property_u64("linux,initrd-end", start + length)?;
    }
    tree.end_node(node)?;

    for &(start, bytes) in ram.blocks() {
        let node = tree.begin_node(&format!("memory@{start:x}"))?;
        tree.property_string("device_type", "memory")?;
        tree.property_array_u64("reg", &[start, bytes])?;
        tree.end_node(node)?;
    }

    let node = tree.begin_node("cpus")?;
    tree.property_u32("#address-cells", 2)?;
    tree.property_u32("#size-cells", 0)?;
    for id in 0..vcpus {
        let mpidr = ((id / VCPUS_PER_CLUSTER) << 8) | (id % VCPUS_PER_CLUSTER);
        let cpu = tree.begin_node(&format!("cpu@{mpidr:x}"))?;
        tree.property_string("device_type", "cpu")?;
        tree.property_string("compatible", "arm,armv8")?;
        tree.property_string("enable-method", "psci")?;
        tree.property_u64("reg", mpidr)?;
        tree.end_node(cpu)?;
    }
    tree.end_node(node)?;

    let node = tree.begin_node("psci")?;
    tree.property_string_list("compatible", vec!["arm,psci-1.0".to_owned(), "arm,psci-0.2".to_owned()])?;
    tree.property_string("method", "hvc")?;
    tree.end_node(node)?;

    let node = tree.begin_node(&format!("intc@{DISTRIBUTOR:x}"))?;
    tree.property_string("compatible", "arm,gic-v3")?;
    tree.property_null("interrupt-controller")?;
    tree.property_u32("#interrupt-cells", 3)?;
    tree.property_phandle(GIC)?;
    tree.property_array_u64("reg", &[DISTRIBUTOR, DISTRIBUTOR_BYTES, REDISTRIBUTORS, vcpus * REDISTRIBUTOR_BYTES])?;
    tree.end_node(node)?;

    let node = tree.begin_node("timer")?;
    tree.property_string("compatible", "arm,armv8-timer")?;
    tree.property_null("always-on")?;
    tree.property_array_u32("interrupts", &TIMERS.map(|number| [PRIVATE, number, LEVEL_LOW]).concat())?;
    tree.end_node(node)?;

    let node = tree.begin_node(&format!("serial@{SERIAL_ADDRESS:x}"))?;
    tree.property_string("compatible", "ns16550a")?;
    tree.property_array_u64("reg", &[SERIAL_ADDRESS, SERIAL_PORTS.into()])?;
    tree.property_array_u32("interrupts", &[SHARED, SERIAL_IRQ, EDGE])?;
    tree.property_u32("clock-frequency", SERIAL_CLOCK)?;
    tree.end_node(node)?;

    tree.end_node(root)?;
    tree.finish()
}
