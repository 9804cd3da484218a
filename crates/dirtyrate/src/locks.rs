//! The locks of data that several threads share. They are std's locks, or with `--cfg loom` loom's, with which the
//! models (`loom_models` of each module) go through every order of events.
//!
//! Only code that the models run takes its locks from here.

#[cfg(loom)]
pub use loom::sync::{Condvar, Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
pub use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Locks, also after a thread that had the lock has panicked. The data behind these locks is changed in single steps,
/// so it is consistent even then.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, also after a panic, as [`lock`] does.
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits to be notified, at most for `most`. Under loom no time passes.
pub fn wait_timeout<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>, most: Duration) -> MutexGuard<'a, T> {
    condvar.wait_timeout(guard, most).unwrap_or_else(PoisonError::into_inner).0
}
