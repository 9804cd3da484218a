//! AVX-512 with VPOPCNTDQ: the bits of eight words in one instruction.

use crate::bitmap::arch::backend;
use crate::bitmap::{Backend, generic};

backend!(
    Backend::Avx512,
    is_x86_feature_detected:
        ["avx512f", "avx512bw", "avx512vl", "avx512vpopcntdq", "avx2", "bmi1", "bmi2", "lzcnt", "popcnt"],
    count: generic::count_by_word,
    expand: generic::expand
);
