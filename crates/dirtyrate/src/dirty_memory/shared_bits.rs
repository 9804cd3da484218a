//! The bits of all clients, shared by those who read them, and locked while somebody does.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::DirtyBits;
use crate::locks::{Mutex, MutexGuard, lock};

/// A handle to the bits of a [`DirtyMemory`](super::DirtyMemory). Clones are handles to the same bits.
#[derive(Clone)]
pub struct SharedBits(Arc<Mutex<DirtyBits>>);

impl SharedBits {
    pub(super) fn new(bits: DirtyBits) -> Self {
        Self(Arc::new(Mutex::new(bits)))
    }

    /// Locks the bits, which does not wait for a sync: nobody holds this lock while the kernel is asked anything.
    pub fn lock(&self) -> LockedBits<'_> {
        LockedBits(lock(&self.0))
    }

    /// Locks the bits unless somebody else has them locked.
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
