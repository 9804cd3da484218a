//! A kernel that is a Linux bzImage, on x86-64.

#![no_main]

use dirtyrate_fuzz::Input;
use dirtyrate_fuzz::boot::{bzimage, changed, with_load};
use dirtyrate_machine::boot::fuzzing::check_x86_64;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let kernel = changed(bzimage(), &mut input);
    with_load(&kernel, &mut input, check_x86_64);
});
