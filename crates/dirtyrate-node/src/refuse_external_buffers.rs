//! Stands in for Electron, whose V8 keeps all buffers in a cage of its own: an addon's memory as an `ArrayBuffer` is refused there. Linked
//! with `--wrap`, which `build.rs` asks for, the calls that would make one are answered as Electron answers them. For tests only.

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
