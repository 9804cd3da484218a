//! A terabyte of guest memory on a host that has a fraction of it.

mod support;

use dirtyrate::dirty_memory::Client;
use dirtyrate::machine::layout::around_the_hole;
use dirtyrate::workload::{Kind, Pacing};
use support::*;

#[test]
fn a_sparse_terabyte_is_created_and_measured_exactly() {
    if !kvm() {
        return;
    }
    let machine = machine(around_the_hole(1 << 40, PAGE).expect("a layout"), 1);
    // Spread over both blocks: most of it is at the very end of the terabyte.
    let guest = run(&machine, &workload(Kind::Random, 5000, 1, Pacing::Granted));
    begin(&machine, Client::DirtyRate);
    for _ in 0..3 {
        let from = guest.counters();
        make(&machine, &guest, 1000);
        sync(&machine);
        let truth = guest.truth(&from, &guest.counters()).written;
        assert!(truth.iter().any(|frame| frame > (1 << 40) / PAGE), "above 1 TiB, beyond the hole");
        assert_same(&take(&machine, Client::DirtyRate), &truth, "a terabyte");
    }
}
