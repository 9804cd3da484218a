//! The N-API binding of [`dirtyrate`]: it converts, and it puts what takes time on a native thread. Policy is TypeScript's;
//! everything else is the core's. One file per JavaScript class.
//!
//! `native/binding.d.cts` is generated from here.

// napi-derive exports nothing in a test build, so there all of it would be dead code.
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
mod log;
mod promise;
#[cfg(feature = "refuse-external-buffers")]
mod refuse_external_buffers;
mod sample;
mod virtual_machine;
