//! AVX2, with the bit manipulation that every CPU with AVX2 has.

use crate::bitmap::arch::backend::backend;
use crate::bitmap::generic;
use crate::bitmap::kernels::Backend;

backend!(
    Backend::Avx2,
    is_x86_feature_detected: ["avx2", "bmi1", "bmi2", "lzcnt", "popcnt"],
    count: generic::count_carry_save,
    expand: generic::expand_by_four
);
