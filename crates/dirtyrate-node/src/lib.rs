//! The N-API binding of [`dirtyrate`]. It converts values, and runs calls that take time on native threads. Policy is
//! in TypeScript, and everything else in the core. Each JavaScript class has its file.
//!
//! `native/binding.d.cts` is generated from here.

// In a test build napi-derive exports nothing, so everything would count as dead code.
#![cfg_attr(test, allow(dead_code))]

mod bitmap;
mod cancel_token;
mod capabilities;
mod convert;
mod dirty_memory;
mod environment;
mod error_codes;
mod errors;
mod guest;
mod guest_program;
mod log;
mod process;
mod promise;
#[cfg(feature = "refuse-external-buffers")]
mod refuse_external_buffers;
mod sample;
mod soft_dirty;
mod virtual_machine;
