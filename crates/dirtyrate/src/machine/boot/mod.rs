//! Loading what is booted.

pub mod pvh;
