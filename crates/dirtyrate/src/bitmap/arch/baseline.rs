//! The backend that every CPU has: the kernels as the compiler makes them for the target of this build.

use super::backend::backend;
use crate::bitmap::generic;
use crate::bitmap::kernels::Backend;

backend!(Backend::Generic, none: [], count: generic::count_carry_save, expand: generic::expand_by_bit);
