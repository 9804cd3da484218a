//! Advanced SIMD: CNT counts the bits of each byte of a vector.

use crate::bitmap::arch::backend::backend;
use crate::bitmap::generic;
use crate::bitmap::kernels::Backend;

backend!(
    Backend::Neon,
    is_aarch64_feature_detected: ["neon"],
    count: generic::count_by_word,
    expand: generic::expand_by_four
);
