//! The check of a command line that is the same for every kernel.

use dirtyrate::{Error, Result};

/// Refuses a command line that, with its final zero, does not fit in `most` bytes.
pub(super) fn check(cmdline: &str, most: usize) -> Result<()> {
    if cmdline.len() >= most {
        let bytes = cmdline.len();
        return Err(Error::Argument(format!(
            "a command line of {bytes} bytes: this kernel takes less than {most} bytes"
        )));
    }
    if cmdline.contains('\0') {
        return Err(Error::Argument("a command line has a NUL in it, which would end it there".to_owned()));
    }
    Ok(())
}
