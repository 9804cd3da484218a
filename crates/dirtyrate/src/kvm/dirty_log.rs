//! The kernel's dirty bitmap, one slot at a time: KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG.
//!
//! `dirty_memory::FakeLog` keeps the same contract without a kernel, for fault injection and for models. It is behind
//! the feature `testing`.

use super::capabilities::Capabilities;
use super::ioctls::{clear_dirty_log, get_dirty_log, set_manual_protect};
use super::manual_protect::ManualProtect;
use super::slots::{OneLog, Slots};
use crate::bitmap::PAGES_PER_WORD;
use crate::block::BlockId;
use crate::dirty_memory::DirtyLog;
use crate::error::{Error, Result};

/// KVM's bitmap log of a VM.
pub struct BitmapLog {
    slots: Slots,
    protect: ManualProtect,
    /// While this exists, these slots can have no other log.
    _one: OneLog,
}

impl BitmapLog {
    /// Makes the dirty log of the VM that has `slots`, with the best state of manual protect that the kernel has.
    ///
    /// # Errors
    ///
    /// [`Error::OtherLog`] if the VM has dirty rings; [`Error::LogInUse`] if another bitmap log of this VM is in use,
    /// because each log would miss what the other one fetches; [`Error::Ioctl`] if the kernel refuses.
    pub fn new(slots: &Slots, capabilities: &Capabilities) -> Result<Self> {
        Self::with(slots, capabilities.manual_protect)
    }

    /// Does what [`new`](Self::new) does, with a chosen state of manual protect, so that tests on a new kernel can do
    /// what old kernels do.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the kernel does not have `protect`; those of [`new`](Self::new).
    #[cfg(feature = "testing")]
    pub fn with_manual_protect(slots: &Slots, capabilities: &Capabilities, protect: ManualProtect) -> Result<Self> {
        let best = capabilities.manual_protect;
        if protect > best {
            return Err(Error::Unsupported(format!(
                "manual protect '{}' was asked for, and this kernel's best is '{}'",
                protect.name(),
                best.name()
            )));
        }
        Self::with(slots, protect)
    }

    fn with(slots: &Slots, protect: ManualProtect) -> Result<Self> {
        // This is also done for `None`: the VMM may have turned manual protect on, and then a fetch would not clear the
        // log.
        let one = slots.lock().enable_log("dirty bitmap", |vm| set_manual_protect(vm, protect))?;
        Ok(Self { slots: slots.clone(), protect, _one: one })
    }

    /// The state of manual protect that was set.
    pub fn manual_protect(&self) -> ManualProtect {
        self.protect
    }
}

impl DirtyLog for BitmapLog {
    fn pages(&self, block: BlockId) -> Option<u64> {
        self.slots.lock().pages(block)
    }

    fn page_size(&self) -> Option<u64> {
        Some(self.slots.lock().page_size())
    }

    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        self.slots.lock().set_logging(block, on)
    }

    fn initially_set(&self) -> bool {
        self.protect == ManualProtect::InitiallySet
    }

    fn fetch_reprotects(&self) -> bool {
        self.protect == ManualProtect::None
    }

    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
        let slots = self.slots.lock();
        let (slot, pages, name) = slots.lookup(block)?;
        get_dirty_log(&slots.vm(), slot, pages, into, name)
    }

    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()> {
        let slots = self.slots.lock();
        let (slot, block_pages, name) = slots.lookup(block)?;
        // The kernel accepts only such ranges, and answers EINVAL to any other one, which would be a mistake of this
        // crate.
        let in_shape = first_page.is_multiple_of(PAGES_PER_WORD)
            && first_page + pages <= block_pages
            && (pages.is_multiple_of(PAGES_PER_WORD) || first_page + pages == block_pages);
        let count = u32::try_from(pages).ok().filter(|_| in_shape).ok_or_else(|| {
            Error::Argument(format!("CLEAR of {pages} pages from {first_page} in a block of {block_pages}: want 64s"))
        })?;
        clear_dirty_log(&slots.vm(), slot, first_page, count, bits, name)
    }
}
