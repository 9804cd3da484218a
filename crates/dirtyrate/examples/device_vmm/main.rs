//! A VMM as Cloud Hypervisor and Firecracker are: its guest memory notes the VMM's own writes in an `AtomicBitmap`, a
//! device writes that memory on a thread of its own while the guest runs, and a second vCPU comes while the first one
//! runs.
//!
//! KVM's log has what the vCPUs write, and the `AtomicBitmap` what the device writes. Both go to two clients at once: a
//! measurement, and a migration that runs beside it (`measure.rs`).
//!
//! ```text
//! cargo run -p dirtyrate --example device_vmm
//! ```

mod device;
#[path = "../shared/guest.rs"]
mod guest;
mod measure;
#[path = "../shared/vcpu.rs"]
mod vcpu;
mod vmm;

use dirtyrate::{Error, Result};
use measure::Measured;

fn main() -> Result<()> {
    print("dirty-bitmap", measure::by_bitmap()?);
    match measure::by_ring() {
        Ok(measured) => print("dirty-ring", measured),
        Err(Error::Unsupported(why)) => println!("dirty-ring: {why}"),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn print(mode: &str, rounds: Vec<Measured>) {
    for (round, Measured { reap, ranges, to_migrate }) in (1..).zip(rounds) {
        let mib_per_second = reap.bytes_per_second / f64::from(1 << 20);
        let pages: Vec<_> = ranges.iter().map(|range| format!("{} from {} on", range.pages, range.first)).collect();
        print!("{mode} round {round}: {mib_per_second:.0} MiB/s; pages of '{}': {}", vmm::HIGH, pages.join(", "));
        let vcpus = reap.ring.map(|ring| ring.vcpus).unwrap_or_default();
        vcpus.iter().enumerate().for_each(|(vcpu, written)| print!("; vCPU {vcpu}: {} pages", written.pages));
        println!("; {} pages to migrate", to_migrate.iter().map(|range| range.pages).sum::<u64>());
    }
}
