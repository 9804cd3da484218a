//! What the compiler makes of the kernels for the target that this crate is built for.

use super::backend::backend;
use crate::bitmap::generic;
use crate::bitmap::kernels::Backend;

backend!(Backend::Generic, none: [], count: generic::count_carry_save, expand: generic::expand_by_bit);
