//! A merge adds the source to every target, and knows how much of it is new to each.

#![no_main]

use dirtyrate::bitmap::oracle;
use dirtyrate_fuzz::{Input, every_backend};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let (targets, turn) = (input.below(12), input.below(64) as u32);
    let words = input.words();
    let turned: Vec<Vec<u64>> = (1..=targets as usize)
        .map(|target| words.get().iter().rev().map(|word| word.rotate_left(turn * target as u32)).collect())
        .collect();
    let targets: Vec<_> = turned.iter().map(Vec::as_slice).collect();
    every_backend(|kernels| oracle::check_merge(kernels, words.get(), &targets));
});
