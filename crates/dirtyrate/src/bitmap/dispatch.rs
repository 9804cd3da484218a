//! Chooses the kernels that run. Each instruction set has two tables of functions, one without hints and one with
//! hints, and the best table for the CPU is found once.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::arch;
use super::hints::{HINTS_VARIABLE, Hints};
use super::kernels::{Backend, Kernels, names};
use crate::error::{Error, Result};

/// The environment variable that forces a backend, by its name. It is read once, when the first bitmap is made or
/// counted.
pub const BACKEND_VARIABLE: &str = "DIRTYRATE_BACKEND";

/// The table in use; null until it is chosen.
static CHOSEN: AtomicPtr<Kernels> = AtomicPtr::new(ptr::null_mut());

impl Kernels {
    /// The kernels of a backend, with hints or without; `None` if this CPU lacks a feature that the backend needs.
    #[cfg(feature = "testing")]
    pub fn new(backend: Backend, hints: Hints) -> Option<&'static Self> {
        arch::kernels(backend, hints)
    }

    /// The kernels of every backend that this CPU can run, the slowest first, each without hints and with them.
    #[cfg(feature = "testing")]
    pub fn available() -> impl Iterator<Item = &'static Self> {
        Backend::ALL
            .into_iter()
            .flat_map(|backend| Hints::ALL.into_iter().filter_map(move |hints| Self::new(backend, hints)))
    }

    /// The kernels to use: those of the best backend that this CPU has, or of the one that `DIRTYRATE_BACKEND` names;
    /// with the hints that are [best on this CPU](Hints::for_this_cpu), or as `DIRTYRATE_HINTS` says. They are chosen
    /// at the first call.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if `DIRTYRATE_BACKEND` names no backend or one that this CPU cannot run, or if
    /// `DIRTYRATE_HINTS` is neither `on` nor `off`.
    pub fn choose() -> Result<&'static Self> {
        // SAFETY: the pointer is null, or came from a `&'static Kernels` just below.
        if let Some(chosen) = unsafe { CHOSEN.load(Ordering::Relaxed).as_ref() } {
            return Ok(chosen);
        }
        let backend = std::env::var_os(BACKEND_VARIABLE).map(|name| name.to_string_lossy().into_owned());
        let chosen = Self::named(backend, Hints::named(std::env::var_os(HINTS_VARIABLE))?)?;
        // Relaxed: the tables are constants, so there is nothing to publish; threads that race here choose the same.
        CHOSEN.store(ptr::from_ref(chosen).cast_mut(), Ordering::Relaxed);
        Ok(chosen)
    }

    /// The same as [`choose`](Self::choose), for callers that have called it before, or that cannot handle a failure.
    ///
    /// # Panics
    ///
    /// If `choose` fails, with its message.
    pub fn get() -> &'static Self {
        Self::choose().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The kernels of the backend with that name, or of the best backend if there is no name.
    pub(super) fn named(name: Option<String>, hints: Hints) -> Result<&'static Self> {
        let available = || Backend::ALL.into_iter().filter_map(|backend| arch::kernels(backend, hints));
        let Some(name) = name else { return Ok(available().next_back().expect("every CPU has the generic backend")) };
        let refused = |problem: String| Error::Argument(format!("{BACKEND_VARIABLE}: {problem}"));
        let backend: Backend = name.parse().map_err(|error: Error| refused(error.to_string()))?;
        arch::kernels(backend, hints).ok_or_else(|| {
            let has = names(available().map(|kernels| kernels.backend));
            refused(format!("this CPU cannot run '{backend}': it can run {has}"))
        })
    }
}
