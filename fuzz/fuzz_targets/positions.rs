//! Positions are the pages that are set, from any page on and however few at a time.

#![no_main]

use dirtyrate::bitmap::oracle;
use dirtyrate_fuzz::{Input, every_backend};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (from, room) = (input.below(1 << 16), 1 + input.below(1000));
    let words = input.words();
    every_backend(|kernels| oracle::check_positions(kernels, words.get(), from, room as usize));
});
