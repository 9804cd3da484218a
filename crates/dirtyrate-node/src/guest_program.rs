//! `NativeGuestProgram`: a built-in guest without a machine of ours, because it runs in another VMM, or from a file.

use std::sync::Arc;

use dirtyrate::host_page_size;
use dirtyrate_machine::workload::{Counters, Image, Program, RamRange};
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object, Uint8Array};
use napi_derive::napi;

use crate::convert::whole;
use crate::errors::{Result, thrown};
use crate::guest::{NativeWorkloadOptions, workload};
use crate::promise;

/// A range of RAM.
#[napi(object)]
pub struct NativeRamRange {
    pub guest_address: f64,
    pub bytes: f64,
}

/// A guest for a machine with given RAM, and what is known about it.
#[napi]
pub struct NativeGuestProgram {
    image: Arc<Image>,
}

#[napi]
impl NativeGuestProgram {
    /// Builds a guest for a machine with this RAM. Throws ERR_ARGUMENT.
    #[napi(constructor)]
    pub fn new(options: NativeWorkloadOptions, ram: Vec<NativeRamRange>) -> Result<Self> {
        let (workload, _) = workload(&options)?;
        let range = |range: &NativeRamRange| {
            Ok(RamRange {
                guest_address: whole("guestAddress", range.guest_address)?,
                bytes: whole("bytes", range.bytes)?,
            })
        };
        let ram = ram.iter().map(range).collect::<Result<Vec<_>>>()?;
        let image = workload.build(&ram, host_page_size()).map_err(|error| thrown(error.into()))?;
        Ok(NativeGuestProgram { image: Arc::new(image) })
    }

    /// The guest as an ELF, which boots by PVH on x86-64.
    #[napi]
    pub fn elf(&self) -> Buffer {
        self.image.elf().to_vec().into()
    }

    /// The guest address of each vCPU's mailbox, whose first 16 bytes `counted` understands.
    #[napi(getter)]
    pub fn mailboxes(&self) -> Vec<f64> {
        let program = self.image.program();
        (0..program.vcpus()).map(|vcpu| program.mailbox_page(vcpu) as f64).collect()
    }

    /// How many writes a vCPU has made, from the first 16 bytes of its mailbox. Null if it has not begun. Throws
    /// ERR_ARGUMENT for another number of bytes.
    #[napi]
    pub fn counted(&self, mailbox: Uint8Array) -> Result<Option<f64>> {
        let (words, rest) = mailbox.as_chunks::<8>();
        let ([writes, ready], []) = (words, rest) else {
            let text = format!("a mailbox of {} bytes: give its first 16", mailbox.len());
            return Err(thrown(dirtyrate::Error::Argument(text)));
        };
        let counted = Program::counted([writes, ready].map(|word| u64::from_le_bytes(*word)));
        Ok(counted.map(|writes| writes as f64))
    }

    /// How many distinct pages the guest has written between two readings of all counters, its mailboxes included.
    #[napi(ts_return_type = "Promise<number>")]
    pub fn written(&self, env: Env, from: Vec<f64>, to: Vec<f64>) -> Result<Object<'static>> {
        let (from, to) = (self.counters(&from)?, self.counters(&to)?);
        let image = self.image.clone();
        promise::run(env, move || Ok(image.program().written(&from, &to).len() as f64))
    }
}

impl NativeGuestProgram {
    /// The counters of a guest that nobody grants writes to.
    fn counters(&self, writes: &[f64]) -> Result<Counters> {
        let vcpus = self.image.program().vcpus() as usize;
        if writes.len() != vcpus {
            let text = format!("{} counters were given for {vcpus} vCPUs", writes.len());
            return Err(thrown(dirtyrate::Error::Argument(text)));
        }
        let writes = writes.iter().map(|&writes| whole("writes", writes)).collect::<Result<Vec<_>>>()?;
        Ok(Counters { budgets: vec![Counters::UNLIMITED; vcpus], writes, grants: 0 })
    }
}
