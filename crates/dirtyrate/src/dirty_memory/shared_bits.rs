//! A handle by which several threads share the bits of all clients, and the lock of these bits.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::bits::DirtyBits;
use crate::locks::{Mutex, MutexGuard, lock};

/// A handle to the bits of a [`DirtyMemory`](super::DirtyMemory). Clones are handles to the same bits.
#[derive(Clone)]
pub struct SharedBits(Arc<Mutex<DirtyBits>>);

impl SharedBits {
    pub(super) fn new(bits: DirtyBits) -> Self {
        Self(Arc::new(Mutex::new(bits)))
    }

    /// Locks the bits. This does not wait for a sync, because no thread holds this lock while it calls the kernel.
    pub fn lock(&self) -> LockedBits<'_> {
        LockedBits(lock(&self.0))
    }

    /// Locks the bits, unless another thread has locked them.
    pub fn try_lock(&self) -> Option<LockedBits<'_>> {
        self.0.try_lock().ok().map(LockedBits)
    }
}

/// The bits, locked until this is dropped.
pub struct LockedBits<'a>(MutexGuard<'a, DirtyBits>);

impl Deref for LockedBits<'_> {
    type Target = DirtyBits;

    fn deref(&self) -> &DirtyBits {
        &self.0
    }
}

impl DerefMut for LockedBits<'_> {
    fn deref_mut(&mut self) -> &mut DirtyBits {
        &mut self.0
    }
}
