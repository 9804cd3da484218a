//! What every kernel asks of its command line.

use dirtyrate::{Error, Result};

/// Refuses a command line that does not fit in `most` bytes with its final zero.
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
