//! Tests of more than one file's code.

mod guest_memory;
mod passes;
