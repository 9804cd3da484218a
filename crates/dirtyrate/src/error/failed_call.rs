//! A call that the kernel refused, on its way to the place that knows what it was about.

use std::io;

use super::Error;

/// The name of a call, with the kernel's answer.
#[derive(Debug)]
pub struct FailedCall {
    call: &'static str,
    source: io::Error,
}

impl FailedCall {
    /// What `map_err` takes for a call of this name.
    pub fn of(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { call, source }
    }

    /// Whether the file does not exist, or may not be used.
    pub fn is_about_access(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
    }

    /// The error of a call on something of this process.
    pub fn about(self, context: impl Into<String>) -> Error {
        Error::refused(self.call, context, self.source)
    }

    /// The error of a call on the process `pid`.
    pub fn about_process(self, pid: u32, context: impl Into<String>) -> Error {
        Error::process_refused(pid, self.call, context, self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_call_that_was_refused_and_what_it_was_about() {
        let failed = |call, errno| FailedCall::of(call)(io::Error::from_raw_os_error(errno));
        for call in ["pidfd_open", "read", "flock"] {
            let said = failed(call, libc::EACCES).about_process(7, "/proc/7/maps").to_string();
            let expected = format!("no permission to read the memory of process 7 ({call} /proc/7/maps): ");
            assert!(said.starts_with(&expected), "{said}");
            for errno in [libc::EMFILE, libc::EIO] {
                let said = failed(call, errno).about_process(7, "/proc/7/maps").to_string();
                assert!(said.starts_with(&format!("{call} failed (/proc/7/maps): ")), "{said}");
            }
            let said = failed(call, libc::EACCES).about("a file").to_string();
            assert!(said.starts_with(&format!("{call} failed (a file): ")), "{said}");
        }
    }
}
