//! Checks whether tests that need a real KVM can run.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::path::Path;

use dirtyrate::Error;
use dirtyrate::kvm::Capabilities;

/// The host's page size, which is the unit of its dirty log.
pub fn page_size() -> u64 {
    dirtyrate::host_page_size()
}

/// Whether the test can run here. Where KVM is demanded, its absence is a failure.
pub fn kvm() -> bool {
    match Capabilities::probe(Path::new("/dev/kvm")) {
        Ok(_) => true,
        Err(error) if std::env::var_os("DIRTYRATE_REQUIRE_KVM").is_none() => {
            eprintln!("skipped: {error}");
            false
        }
        Err(error) => panic!("KVM is required here: {error}"),
    }
}

/// The error's text, for what must fail.
pub fn refusal<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("this must be refused"),
        Err(error) => error.to_string(),
    }
}
