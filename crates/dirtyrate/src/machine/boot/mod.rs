//! Loading what is booted: by the protocol of the architecture.

#[cfg(target_arch = "x86_64")]
mod bzimage;
#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod plan;
#[cfg(target_arch = "x86_64")]
mod pvh;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{load_bytes, load_file};

#[cfg(not(target_arch = "x86_64"))]
mod unsupported {
    use std::path::Path;

    use crate::error::{Error, Result};
    use crate::kvm::Vm;
    use crate::machine::KernelOptions;

    fn refuse<T>() -> Result<T> {
        Err(Error::Unsupported(format!("no boot protocol for {} yet", std::env::consts::ARCH)))
    }

    pub fn load_file(_: &Vm, _: &KernelOptions) -> Result<()> {
        refuse()
    }

    pub fn load_bytes(_: &Vm, _: &[u8], _: &Path) -> Result<()> {
        refuse()
    }
}
#[cfg(not(target_arch = "x86_64"))]
pub(super) use unsupported::{load_bytes, load_file};
