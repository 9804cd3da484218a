//! Lets the addon find N-API's symbols in whatever loads it, and stay loaded.

fn main() {
    napi_build::setup();
    // The end of a worker thread must not unload code that a vCPU thread, or a signal on its way to one, still runs.
    println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
    if std::env::var_os("CARGO_FEATURE_REFUSE_EXTERNAL_BUFFERS").is_some() {
        for call in ["napi_create_external_arraybuffer", "napi_create_external_buffer"] {
            println!("cargo:rustc-link-arg-cdylib=-Wl,--wrap={call}");
        }
    }
}
