//! The logs on a VM whose memory a device also writes. This uses the VMM of the example, in which the vCPUs and the
//! device write the same pages in each round.

mod support;

#[path = "../examples/device_vmm/device.rs"]
mod device;
#[path = "../examples/shared/guest.rs"]
mod guest;
#[path = "../examples/device_vmm/measure.rs"]
mod measure;
#[path = "../examples/shared/vcpu.rs"]
mod vcpu;
#[path = "../examples/device_vmm/vmm.rs"]
mod vmm;

use std::path::Path;

use dirtyrate::bitmap::PageRange;
use dirtyrate::kvm::Capabilities;
use measure::{Measured, ROUNDS_ALONE, ROUNDS_TOGETHER};
use support::kvm;
use vmm::{WRITTEN_BY_DEVICE, WRITTEN_BY_VCPU};

fn expect_exact(rounds: Vec<Measured>) {
    let ((first, pages), (device, of_device)) = (WRITTEN_BY_VCPU[0], WRITTEN_BY_DEVICE);
    assert!(
        device < first + pages && device + of_device > first + pages,
        "the device writes pages of the vCPU, and others"
    );
    let alone = PageRange { first, pages: device + of_device - first };
    let together = PageRange { first: WRITTEN_BY_VCPU[1].0, pages: WRITTEN_BY_VCPU[1].1 };
    assert_eq!(rounds.len(), ROUNDS_ALONE + ROUNDS_TOGETHER);
    for (round, Measured { reap, ranges, to_migrate }) in rounds.iter().enumerate() {
        let expected = if round < ROUNDS_ALONE { vec![alone] } else { vec![alone, together] };
        assert_eq!(ranges, &expected, "round {round}");
        assert_eq!(to_migrate, ranges, "round {round}: the migration is told the same");
        assert!(reap.is_complete(), "round {round}");
        let Some(ring) = &reap.ring else { continue };
        let by_vcpu: Vec<_> = ring.vcpus.iter().map(|vcpu| vcpu.pages).collect();
        match round {
            0..ROUNDS_ALONE => assert_eq!(by_vcpu[0], pages, "round {round}"),
            _ => assert_eq!(by_vcpu, [pages, together.pages], "round {round}"),
        }
    }
}

#[test]
fn the_bitmap_and_the_vmms_own_have_what_everybody_wrote() {
    if kvm() {
        expect_exact(measure::by_bitmap().expect("measured"));
    }
}

#[test]
fn rings_take_in_a_vcpu_that_comes_while_another_runs() {
    if !kvm() {
        return;
    }
    let has_rings = Capabilities::probe(Path::new("/dev/kvm")).expect("KVM").dirty_ring_entries > 0;
    match measure::by_ring() {
        Ok(rounds) => expect_exact(rounds),
        Err(error) => assert!(!has_rings && error.to_string().contains("no dirty ring"), "{error}"),
    }
}
