//! Plays Electron, for tests only. Electron's V8 keeps all buffers in its own cage, so it refuses an addon's memory as
//! an `ArrayBuffer`. `build.rs` links with `--wrap`, so that the calls that would make such a buffer come here, and are
//! answered as Electron answers them.

use std::ffi::c_void;

use napi::sys::{Status, napi_env, napi_finalize, napi_status, napi_value};

#[unsafe(no_mangle)]
extern "C" fn __wrap_napi_create_external_arraybuffer(
    _env: napi_env,
    _data: *mut c_void,
    _bytes: usize,
    _finalize: napi_finalize,
    _hint: *mut c_void,
    _result: *mut napi_value,
) -> napi_status {
    Status::napi_no_external_buffers_allowed
}

#[unsafe(no_mangle)]
extern "C" fn __wrap_napi_create_external_buffer(
    _env: napi_env,
    _bytes: usize,
    _data: *mut c_void,
    _finalize: napi_finalize,
    _hint: *mut c_void,
    _result: *mut napi_value,
) -> napi_status {
    Status::napi_no_external_buffers_allowed
}
