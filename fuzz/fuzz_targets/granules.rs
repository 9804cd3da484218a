//! Granules are counted, and the runs of them, for granules of any size and phase.

#![no_main]

use dirtyrate::bitmap::oracle;
use dirtyrate_fuzz::{Input, every_backend};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let pages_per_granule = 1 + input.below(2000);
    let phase = input.below(2000) % pages_per_granule;
    let words = input.words();
    every_backend(|kernels| oracle::check_granules(kernels, words.get(), pages_per_granule, phase));
});
