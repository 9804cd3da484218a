//! Heat is the number of pages in each region, of any size and number.

#![no_main]

use dirtyrate::bitmap::oracle;
use dirtyrate_fuzz::{Input, every_backend};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (pages_per_region, regions) = (1 + input.below(2000), input.below(3000));
    let words = input.words();
    every_backend(|kernels| oracle::check_heat(kernels, words.get(), pages_per_region, regions as usize));
});
