//! The kernel's dirty bitmap, one slot at a time: KVM_GET_DIRTY_LOG and KVM_CLEAR_DIRTY_LOG.
//!
//! For fault injection and for models there is `dirty_memory::FakeLog`, which keeps the same contract without a kernel. It is
//! behind the feature `testing`.

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
    /// While this is there, these slots have no other log.
    _one: OneLog,
}

impl BitmapLog {
    /// Makes the log of the VM of `slots`, with the best manual protect that the kernel has.
    ///
    /// # Errors
    ///
    /// [`Error::OtherLog`] if the VM has dirty rings; [`Error::LogInUse`] if another bitmap log of it is in use, because each
    /// would miss what the other fetches; [`Error::Ioctl`] if the kernel refuses.
    pub fn new(slots: &Slots, capabilities: &Capabilities) -> Result<Self> {
        Self::with(slots, capabilities.manual_protect)
    }

    /// As [`new`](Self::new), but with a manual protect that need not be the best, so that old kernels can be tested on a new one.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the kernel cannot do what `protect` asks for; those of [`new`](Self::new).
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
        // Set also to none, because somebody else may have turned it on, and then a fetch would not clear the log.
        let one = slots.lock().enable_log("dirty bitmap", |vm| set_manual_protect(vm, protect))?;
        Ok(Self { slots: slots.clone(), protect, _one: one })
    }

    /// What was negotiated.
    pub fn manual_protect(&self) -> ManualProtect {
        self.protect
    }
}

impl DirtyLog for BitmapLog {
    fn pages(&self, block: BlockId) -> Option<u64> {
        self.slots.lock().pages(block)
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
        // The only shape that the kernel accepts: anything else is EINVAL there, and a mistake here.
        let in_shape = first_page.is_multiple_of(PAGES_PER_WORD)
            && first_page + pages <= block_pages
            && (pages.is_multiple_of(PAGES_PER_WORD) || first_page + pages == block_pages);
        let count = u32::try_from(pages).ok().filter(|_| in_shape).ok_or_else(|| {
            Error::Argument(format!("CLEAR of {pages} pages from {first_page} in a block of {block_pages}: want 64s"))
        })?;
        clear_dirty_log(&slots.vm(), slot, first_page, count, bits, name)
    }
}
