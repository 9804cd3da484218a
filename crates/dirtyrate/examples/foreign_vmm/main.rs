//! A VMM that owes this crate nothing: it makes its VM, its memory slots and its vCPU with kvm-ioctls alone. To measure
//! what its guest dirties it hands over the descriptor of its VM, its slots as it set them, and, for rings, what stops
//! its vCPUs (`measure.rs`).
//!
//! ```text
//! cargo run -p dirtyrate --example foreign_vmm
//! ```

#[path = "../shared/guest.rs"]
mod guest;
mod measure;
#[path = "../shared/vcpu.rs"]
mod vcpu;
mod vmm;

use dirtyrate::{Error, Result};
use measure::{FIRST, Measured, WRITTEN};

fn main() -> Result<()> {
    println!("the guest writes {WRITTEN} pages of '{}' from page {FIRST} on, in each round", vmm::HIGH);
    print("dirty-bitmap", measure::by_bitmap(3)?);
    match measure::by_ring(3) {
        Ok(measured) => print("dirty-ring", measured),
        Err(Error::Unsupported(why)) => println!("dirty-ring: {why}"),
        Err(error) => return Err(error),
    }
    Ok(())
}

fn print(mode: &str, rounds: Vec<Measured>) {
    for (round, Measured { reap, ranges }) in (1..).zip(rounds) {
        let mib_per_second = reap.bytes_per_second / f64::from(1 << 20);
        let pages: Vec<_> = ranges.iter().map(|range| format!("{} from {} on", range.pages, range.first)).collect();
        print!("{mode} round {round}: {mib_per_second:.0} MiB/s; pages of '{}': {}", vmm::HIGH, pages.join(", "));
        match reap.ring {
            Some(ring) => println!("; {} entries", ring.vcpus.iter().map(|vcpu| vcpu.entries).sum::<u64>()),
            None => println!(),
        }
    }
}
