//! The streaming compressor of libzstd, which is loaded at run time. Why: see
//! docs/decisions/compression-by-the-hosts-zstd.md.

use std::error::Error as _;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{NonNull, null};
use std::sync::OnceLock;

use libloading::os::unix::Library;

use crate::error::{Error, Result};

/// The library's name, whose number stands for its binary interface. All that is used here is in that interface since
/// version 1.4.0, of 2019.
const LIBRARY: &str = "libzstd.so.1";

/// `ZSTD_c_compressionLevel` of `ZSTD_cParameter`.
const LEVEL: c_int = 100;
/// `ZSTD_e_continue` and `ZSTD_e_flush` of `ZSTD_EndDirective`.
const CONTINUE: c_int = 0;
const FLUSH: c_int = 1;

/// `ZSTD_inBuffer`.
#[repr(C)]
struct InBuffer {
    src: *const c_void,
    size: usize,
    pos: usize,
}

/// `ZSTD_outBuffer`.
#[repr(C)]
struct OutBuffer {
    dst: *mut c_void,
    size: usize,
    pos: usize,
}

type Compress = unsafe extern "C" fn(*mut c_void, *mut OutBuffer, *mut InBuffer, c_int) -> usize;

/// What the loader said, which libloading has in the error's source: which file, and what is wrong with it.
fn said(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The functions of the library, which stays loaded for ever.
struct Functions {
    create: unsafe extern "C" fn() -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void) -> usize,
    set_parameter: unsafe extern "C" fn(*mut c_void, c_int, c_int) -> usize,
    compress: Compress,
    out_size: unsafe extern "C" fn() -> usize,
    is_error: unsafe extern "C" fn(usize) -> c_uint,
}

impl Functions {
    /// Loads the library, the first time that this is called.
    fn get() -> Result<&'static Self> {
        static LOADED: OnceLock<std::result::Result<Functions, String>> = OnceLock::new();
        let loaded = LOADED.get_or_init(|| Self::load().map_err(|error| said(&error)));
        loaded.as_ref().map_err(|error| {
            Error::Unsupported(format!("{LIBRARY}, which measures how well pages compress, cannot be loaded: {error}"))
        })
    }

    fn load() -> std::result::Result<Self, libloading::Error> {
        // SAFETY: the loader's usual search finds the system's own libzstd. It is plain C without initialisers, so
        // loading it runs no code.
        let library = unsafe { Library::new(LIBRARY) }?;
        // SAFETY: each type follows the function's declaration in zstd.h, which libzstd.so.1 keeps for as long as it
        // has this name. The functions stay valid, because the library is never unloaded: it is forgotten below.
        let functions = unsafe {
            Self {
                create: *library.get(c"ZSTD_createCCtx".to_bytes_with_nul())?,
                free: *library.get(c"ZSTD_freeCCtx".to_bytes_with_nul())?,
                set_parameter: *library.get(c"ZSTD_CCtx_setParameter".to_bytes_with_nul())?,
                compress: *library.get(c"ZSTD_compressStream2".to_bytes_with_nul())?,
                out_size: *library.get(c"ZSTD_CStreamOutSize".to_bytes_with_nul())?,
                is_error: *library.get(c"ZSTD_isError".to_bytes_with_nul())?,
            }
        };
        std::mem::forget(library);
        Ok(functions)
    }

    /// The result of a call, unless it is an error.
    fn checked(&self, call: &'static str, result: usize) -> Result<usize> {
        // SAFETY: the function takes any number.
        if unsafe { (self.is_error)(result) } == 0 { Ok(result) } else { Err(Error::State(format!("{call} failed"))) }
    }
}

/// A stream of one frame that never ends, as a channel of QEMU's multifd has.
pub struct Stream {
    functions: &'static Functions,
    context: NonNull<c_void>,
    output: Vec<u8>,
}

impl Stream {
    /// A stream of this compression level.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the library is not there; [`Error::OutOfMemory`].
    pub fn new(level: i32) -> Result<Self> {
        let functions = Functions::get()?;
        // SAFETY: the function takes nothing, and returns null where there is no memory.
        let context = NonNull::new(unsafe { (functions.create)() })
            .ok_or(Error::OutOfMemory { what: "compression", bytes: 0 })?;
        // SAFETY: the function takes nothing.
        let size = unsafe { (functions.out_size)() };
        let stream = Self { functions, context, output: vec![0; size] };
        // SAFETY: the context is valid, and no stream has begun in it.
        let set = unsafe { (functions.set_parameter)(stream.context.as_ptr(), LEVEL, level) };
        functions.checked("ZSTD_CCtx_setParameter", set)?;
        Ok(stream)
    }

    /// Compresses `bytes`, hands what comes out of it to `visit`, piece by piece, and returns how many bytes that were.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if the library refuses the call.
    pub fn write(&mut self, bytes: &[u8], visit: &mut impl FnMut(&[u8])) -> Result<usize> {
        self.step(bytes, CONTINUE, visit)
    }

    /// Brings out all that was written so far, and returns how many bytes that were.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write).
    pub fn flush(&mut self, visit: &mut impl FnMut(&[u8])) -> Result<usize> {
        self.step(&[], FLUSH, visit)
    }

    fn step(&mut self, bytes: &[u8], directive: c_int, visit: &mut impl FnMut(&[u8])) -> Result<usize> {
        let src = if bytes.is_empty() { null() } else { bytes.as_ptr().cast() };
        let mut input = InBuffer { src, size: bytes.len(), pos: 0 };
        let mut written = 0;
        loop {
            let mut output = OutBuffer { dst: self.output.as_mut_ptr().cast(), size: self.output.len(), pos: 0 };
            // SAFETY: the context is valid and only this thread uses it. `input` is `bytes`, which is borrowed for the
            // call, or null and empty. `output` is a buffer of its own, of that size. The call writes no more than that
            // to it, and moves both positions.
            let left = unsafe { (self.functions.compress)(self.context.as_ptr(), &mut output, &mut input, directive) };
            let left = self.functions.checked("ZSTD_compressStream2", left)?;
            visit(&self.output[..output.pos]);
            written += output.pos;
            // When it flushes, what it returns is what is still inside of it; otherwise that is a hint.
            if input.pos == input.size && (directive == CONTINUE || left == 0) {
                return Ok(written);
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: the context is valid, and nobody uses it after this.
        unsafe { (self.functions.free)(self.context.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_not_there_is_named_with_what_the_loader_says() {
        // SAFETY: there is no such library, so that nothing is loaded.
        let error = unsafe { Library::new("libdirtyrate-none.so.77") }.expect_err("it is not there");
        assert!(said(&error).contains("libdirtyrate-none.so.77"), "{}", said(&error));
    }
}
