//! POPCNT: a word's bits in one instruction, and no wider vectors than the baseline's.

use crate::bitmap::arch::backend::backend;
use crate::bitmap::generic;
use crate::bitmap::kernels::Backend;

backend!(
    Backend::Popcnt,
    is_x86_feature_detected: ["popcnt"],
    count: generic::count_by_word,
    expand: generic::expand_by_four
);
