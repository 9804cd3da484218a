//! A terabyte of guest memory on a host that has a fraction of it.

mod support;

use std::path::Path;

use dirtyrate::dirty_memory::Client;
use dirtyrate::kvm::Capabilities;
use dirtyrate_machine::layout::{HOLE_END, around_the_hole};
use dirtyrate_machine::workload::{Kind, Pacing};
use support::*;

#[test]
fn a_sparse_terabyte_is_created_and_measured_exactly() {
    if !kvm() {
        return;
    }
    // A CPU with 40 bits of physical address has room for a terabyte less the hole.
    let end = Capabilities::probe(Path::new("/dev/kvm")).expect("KVM").guest_address_end;
    let bytes = (1 << 40).min(end - HOLE_END);
    let machine = machine(around_the_hole(bytes, page_size()).expect("a layout"), 1);
    // Spread over both blocks: most of it is at the very end of the terabyte.
    let guest = run(&machine, &workload(Kind::Random, 5000, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    for _ in 0..3 {
        let from = guest.counters();
        make(&machine, &guest, 1000);
        sync(&machine);
        let truth = guest.truth(&from, &guest.counters()).written;
        assert!(truth.iter().any(|frame| frame >= bytes / page_size()), "beyond what there would be without the hole");
        assert_same(&take(&machine, Client::DirtyRate), &truth, "a terabyte");
    }
}
