//! `NativeVirtualMachine`: a client's bits of a block, in the forms that JavaScript asks for. A thread of its own
//! copies and counts the bits, so that the work of the JavaScript thread is bounded.

use std::sync::Arc;

use dirtyrate::Error;
use dirtyrate::bitmap::{Kernels, PageRange, Ranges, try_zeroed};
use dirtyrate::dirty_memory::{BitmapCopy, Client, Taken, copy_bitmap, put_back};
use dirtyrate_machine::Machine;
use napi::Env;
use napi::bindgen_prelude::{BigUint64Array, Object, Uint32Array};
use napi_derive::napi;

use crate::convert::whole;
use crate::dirty_memory::parse;
use crate::errors::Result;
use crate::virtual_machine::NativeVirtualMachine;

/// How much guest memory one region of a heat map covers.
const HEAT_REGION_BYTES: u64 = 2 << 20;

/// A copy of a client's bits of a block, to be read piece by piece.
#[napi]
pub struct NativeBitmap {
    copy: Arc<BitmapCopy>,
    /// What is needed to put the bits back, if they were taken.
    taken: Option<Arc<Taken>>,
}

#[napi]
impl NativeBitmap {
    /// Words of 64 pages.
    #[napi(getter)]
    pub fn words(&self) -> u32 {
        self.copy.words.len() as u32
    }

    /// Copies words from `first` on into `into`, as many as exist and fit. Returns their number. Bit `n % 64` of word
    /// `n / 64` is page `n`.
    #[napi]
    pub fn read(&self, first: u32, mut into: BigUint64Array) -> u32 {
        let rest = self.copy.words.get(first as usize..).unwrap_or_default();
        // SAFETY: the array is only written here, on the JavaScript thread, which runs nothing else meanwhile; the
        // facade lets no array over shared memory through.
        let into = unsafe { into.as_mut() };
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        count as u32
    }
}

#[napi]
impl NativeVirtualMachine {
    /// Copies the client's bits of a block. `room` is the number of words that the caller's array has. With `take` the
    /// bits are taken at the same instant.
    #[napi(ts_return_type = "Promise<NativeBitmap>")]
    pub fn copy_bitmap(
        &self,
        env: Env,
        client: String,
        block: String,
        room: f64,
        take: bool,
    ) -> Result<Object<'static>> {
        let (client, room) = (parse(&client)?, whole("room", room)?);
        self.run(env, move |machine| {
            let info = machine.vm().lock_dirty_bits().block(&block)?.clone();
            if (info.words() as u64) > room {
                let text = format!("the bitmap of '{block}' has {} words, and the array {room}", info.words());
                return Err(Error::Argument(text));
            }
            if !take {
                return Ok(NativeBitmap { copy: Arc::new(copied(machine, client, &block)?), taken: None });
            }
            let mut words = try_zeroed(info.words())?;
            let taken = machine.vm().lock_dirty_memory().take_bitmap(client, &block, &mut words)?;
            Ok(NativeBitmap { copy: Arc::new(BitmapCopy::new(info, words)), taken: Some(Arc::new(taken)) })
        })
    }

    /// Gives bits back that were taken and could not be used.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn put_back(&self, env: Env, bitmap: &NativeBitmap) -> Result<Object<'static>> {
        let (taken, copy) = (bitmap.taken.clone(), Arc::clone(&bitmap.copy));
        self.run(env, move |machine| match &taken {
            Some(taken) => put_back(machine.vm().dirty_bits(), taken, &copy.words),
            None => Ok(()),
        })
    }

    /// The client's runs of dirty pages in a block at and after page `from`, at most `limit` of them. Each run is its
    /// first page and its number of pages.
    #[napi(ts_return_type = "Promise<Uint32Array>")]
    pub fn ranges(&self, env: Env, client: String, block: String, from: f64, limit: f64) -> Result<Object<'static>> {
        let (client, from, limit) = (parse(&client)?, whole("from", from)?, whole("limit", limit)?);
        self.run(env, move |machine| {
            let copy = copied(machine, client, &block)?;
            let mut pairs = Vec::new();
            for PageRange { first, pages } in Ranges::starting_at(&copy.words, from).take(limit as usize) {
                let bytes = pairs.len() * size_of::<u32>();
                pairs.try_reserve(2).map_err(|_| Error::OutOfMemory { what: "the runs of dirty pages", bytes })?;
                // A memory slot has fewer than 2^31 pages.
                pairs.extend([first as u32, pages as u32]);
            }
            Ok(Uint32Array::new(pairs))
        })
    }

    /// The client's dirty pages in each 2 MiB region of a block.
    #[napi(ts_return_type = "Promise<Uint32Array>")]
    pub fn heat(&self, env: Env, client: String, block: String, room: f64) -> Result<Object<'static>> {
        let (client, room) = (parse(&client)?, whole("room", room)?);
        self.run(env, move |machine| {
            let (pages, page_size) = {
                let bits = machine.vm().lock_dirty_bits();
                (bits.block(&block)?.pages, bits.page_size())
            };
            let pages_per_region = HEAT_REGION_BYTES.div_ceil(page_size);
            let regions = pages.div_ceil(pages_per_region);
            if regions > room {
                let text = format!("block '{block}' has {regions} regions of 2 MiB, and the array room for {room}");
                return Err(Error::Argument(text));
            }
            let copy = copied(machine, client, &block)?;
            let mut counts = vec![0; regions as usize];
            Kernels::get().heat(&copy.words, pages_per_region, &mut counts);
            Ok(Uint32Array::new(counts))
        })
    }
}

fn copied(machine: &Machine, client: Client, block: &str) -> dirtyrate::Result<BitmapCopy> {
    copy_bitmap(machine.vm().dirty_bits(), client, block)
}
