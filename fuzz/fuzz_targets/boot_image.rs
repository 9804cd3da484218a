//! A kernel that is a Linux Image, on arm64.

#![no_main]

use dirtyrate_fuzz::Input;
use dirtyrate_fuzz::boot::{changed, image, with_load};
use dirtyrate_machine::boot::fuzzing::check_arm64;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let kernel = changed(image(), &mut input);
    with_load(&kernel, &mut input, check_arm64);
});
