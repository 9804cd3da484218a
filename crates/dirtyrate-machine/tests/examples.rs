//! The example of the whole machine, on the real KVM: its figure is the guest's own count.

mod support;

#[path = "../examples/measure_guest.rs"]
mod measure_guest;

use support::{kvm, nested_paging};

#[test]
fn the_figure_is_what_the_guest_counted() {
    if !kvm() {
        return;
    }
    let (lines, [lower, pages, upper]) = measure_guest::measure().expect("a measurement");
    assert_eq!(lines.len(), 2);
    assert!(lower > 0 && lower <= pages && pages <= upper, "nested paging: {}, {lines:?}", nested_paging());
}
