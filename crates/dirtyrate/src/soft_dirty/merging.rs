//! Whether the kernel merges pages of the same contents (KSM): Documentation/admin-guide/mm/ksm.rst.
//!
//! A page that is merged loses its soft-dirty bit. A merged page may also be separated from the others without a write
//! of the process. Before Linux 6.2 the kernel does that by a write of its own, which sets the bit.

use std::path::Path;
use std::{fs, io};

const FOLDER: &str = "/sys/kernel/mm/ksm";

/// What the kernel does about pages of the same contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Merging {
    /// It leaves all pages as they are: those that it has merged stay merged until they are written.
    #[default]
    Off,
    /// It may merge pages at any time.
    On,
    /// It has separated all pages.
    Ended,
}

impl Merging {
    /// What it does just now.
    pub fn now() -> Self {
        Self::by(Path::new(FOLDER))
    }

    fn by(folder: &Path) -> Self {
        match fs::read_to_string(folder.join("run")) {
            Ok(run) => match run.trim() {
                "0" => Self::Off,
                "2" => Self::Ended,
                _ => Self::On,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Off,
            // Nobody knows.
            Err(_) => Self::On,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_that_nobody_can_exclude_is_on() {
        let folder = std::env::temp_dir().join(format!("dirtyrate-merging-{}", std::process::id()));
        assert_eq!(Merging::by(&folder), Merging::Off, "a kernel without KSM");
        fs::create_dir_all(&folder).expect("a folder");
        for (run, expected) in [("0\n", Merging::Off), ("1\n", Merging::On), ("2\n", Merging::Ended)] {
            fs::write(folder.join("run"), run).expect("a file");
            assert_eq!(Merging::by(&folder), expected, "{run}");
        }
        fs::remove_file(folder.join("run")).expect("it was made");
        fs::create_dir(folder.join("run")).expect("a folder, which cannot be read as a file");
        assert_eq!(Merging::by(&folder), Merging::On);
        fs::remove_dir_all(&folder).expect("it was made");
    }
}
