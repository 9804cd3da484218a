//! Waits that another thread can end.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// A wait looks whether the guest still runs so many times, so that a crash is reported long before a distant deadline.
const LOOKS: u32 = 20;
/// The times between two looks have these bounds. Each look wakes the thread, and half of what a window of a second of
/// page sampling cost was its wakes when there were 50 of them (measured).
const LEAST_BETWEEN_LOOKS: Duration = Duration::from_millis(20);
const MOST_BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Cancels the calls that got a clone of this token. A token stays cancelled.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<(Mutex<bool>, Condvar)>);

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends every wait on this token, now and later.
    pub fn cancel(&self) {
        let (cancelled, woken) = &*self.0;
        *cancelled.lock().unwrap_or_else(PoisonError::into_inner) = true;
        woken.notify_all();
    }

    /// Whether the token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails with [`Error::Cancelled`] if the token was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Sleeps until `deadline` on CLOCK_MONOTONIC, or fails as soon as the token is cancelled.
    pub fn sleep_until(&self, deadline: Instant) -> Result<()> {
        let (cancelled, woken) = &*self.0;
        let mut guard = cancelled.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if *guard {
                return Err(Error::Cancelled);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            guard = woken.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Sleeps until `deadline`. Now and then it calls `alive`, and an error of `alive` ends the sleep.
///
/// # Errors
///
/// [`Error::Cancelled`], and the error of `alive`.
pub fn wait_until(deadline: Instant, cancel: &CancelToken, alive: impl Fn() -> Result<()>) -> Result<()> {
    alive()?;
    let between = deadline.saturating_duration_since(Instant::now()) / LOOKS;
    let between = between.clamp(LEAST_BETWEEN_LOOKS, MOST_BETWEEN_LOOKS);
    while Instant::now() < deadline {
        cancel.sleep_until(deadline.min(Instant::now() + between))?;
        alive()?;
    }
    cancel.check()
}
