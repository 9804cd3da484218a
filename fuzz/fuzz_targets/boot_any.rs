//! Any file at all, on both architectures, and the name of its format if it is no kernel.

#![no_main]

use dirtyrate_fuzz::Input;
use dirtyrate_fuzz::boot::{bzimage, changed, efi, elf, image, with_load};
use dirtyrate_machine::boot::fuzzing::{check_arm64, check_name, check_x86_64};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let kernel = match input.below(5) {
        0 => changed(efi(), &mut input),
        1 => changed(bzimage(), &mut input),
        2 => changed(image(), &mut input),
        3 => changed(elf(), &mut input),
        _ => bytes.to_vec(),
    };
    check_name(&kernel);
    if input.below(2) == 0 {
        with_load(&kernel, &mut input, check_x86_64);
    } else {
        with_load(&kernel, &mut input, check_arm64);
    }
});
