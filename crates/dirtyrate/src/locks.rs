//! The locks of what several threads use at once: std's, or with `--cfg loom` those of loom, which lets the models
//! (`loom_models` of each module) go through every order of events.
//!
//! Only what the models run takes its locks from here.

#[cfg(loom)]
pub use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
pub use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Locks, also after a holder has panicked: what these locks guard is changed in single steps, and is whole.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, as of [`lock`].
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, this long at the most; loom's clock stands still.
pub fn wait_timeout<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>, most: Duration) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, most).unwrap_or_else(PoisonError::into_inner).0
}
