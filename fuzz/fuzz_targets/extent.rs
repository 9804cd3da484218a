//! The extent is from the first word that is not zero to the last.

#![no_main]

use dirtyrate::bitmap::oracle;
use dirtyrate_fuzz::{Input, every_backend};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let words = Input::new(bytes).words();
    every_backend(|kernels| oracle::check_extent(kernels, words.get()));
});
