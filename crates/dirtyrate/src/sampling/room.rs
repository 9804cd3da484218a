//! Vectors with something for each sample, whose memory may be refused.

use crate::error::{Error, Result};

/// An empty vector with room for `length` items.
///
/// # Errors
///
/// [`Error::OutOfMemory`]. This is an error and not a panic, because the caller chooses the number of samples.
pub fn reserved<T>(length: usize) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let bytes = length.saturating_mul(size_of::<T>());
    items.try_reserve_exact(length).map_err(|_| Error::OutOfMemory { what: "the samples", bytes })?;
    Ok(items)
}

/// A vector with `length` times the same item.
///
/// # Errors
///
/// Those of [`reserved`].
pub fn filled<T: Clone>(length: usize, item: T) -> Result<Vec<T>> {
    let mut items = reserved(length)?;
    items.resize(length, item);
    Ok(items)
}
