//! Says what the compiler can do beyond the oldest that this crate is built with.

use std::env;
use std::process::Command;

/// AVX-512 is in stable Rust since this minor version.
const WITH_AVX512: u32 = 89;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(rustc_has_avx512)");
    if minor_version().is_some_and(|minor| minor >= WITH_AVX512) {
        println!("cargo::rustc-cfg=rustc_has_avx512");
    }
}

/// `95` of `rustc 1.95.0 (…)`.
fn minor_version() -> Option<u32> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok()?.split('.').nth(1)?.parse().ok()
}
