//! A dirty log without a kernel, for models and for fault injection.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::log::DirtyLog;
use crate::bitmap::{PAGES_PER_WORD, words_for};
use crate::block::BlockId;
use crate::error::{Error, Result};
use crate::locks::{Mutex, MutexGuard, lock};

/// How a [`FakeLog`] protects pages: the three states of manual protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeProtect {
    /// A fetch clears and protects.
    Automatic,
    /// [`DirtyLog::reprotect`] protects the pages again.
    Manual,
    /// As [`Manual`](Self::Manual), and a log begins with all ones and no page protected.
    ManualInitiallySet,
}

/// Which calls of a [`FakeLog`] can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeCall {
    /// [`DirtyLog::set_logging`].
    SetLogging,
    /// [`DirtyLog::fetch`].
    Fetch,
    /// [`DirtyLog::reprotect`].
    Reprotect,
}

#[derive(Debug)]
struct Page {
    logged: bool,
    protected: bool,
}

#[derive(Debug, Default)]
struct Inner {
    blocks: BTreeMap<BlockId, (bool, Vec<Page>)>,
    fail: Option<(FakeCall, usize)>,
}

/// A log that keeps the contract of KVM's log page by page, in the simplest way. Clones are the same log: in a test,
/// the code that plays the guest has one clone, and dirty memory has the other.
#[derive(Debug, Clone)]
pub struct FakeLog {
    protect: FakeProtect,
    inner: Arc<Mutex<Inner>>,
}

impl FakeLog {
    /// A log without blocks.
    pub fn new(protect: FakeProtect) -> Self {
        Self { protect, inner: Arc::default() }
    }

    /// Gives a block a log, which is off.
    pub fn add_block(&self, block: BlockId, pages: u64) {
        let pages = (0..pages).map(|_| Page { logged: false, protected: false }).collect();
        self.lock().blocks.insert(block, (false, pages));
    }

    /// Removes a block's log, with everything that is in it.
    pub fn remove_block(&self, block: BlockId) {
        self.lock().blocks.remove(&block);
    }

    /// Does what a write of the guest to a page does: if the page is protected, the write faults, and the page is
    /// logged.
    pub fn guest_write(&self, block: BlockId, page: u64) {
        if let Some((true, pages)) = self.lock().blocks.get_mut(&block) {
            let page = &mut pages[page as usize];
            if page.protected {
                *page = Page { logged: true, protected: false };
            }
        }
    }

    /// Makes one call of this kind fail without any effect: the next call if `after` is 0, or the one `after` calls
    /// later.
    pub fn fail(&self, call: FakeCall, after: usize) {
        self.lock().fail = Some((call, after));
    }

    /// Cancels a failure that has not happened yet. Returns whether there was one.
    pub fn cancel_failure(&self) -> bool {
        self.lock().fail.take().is_some()
    }

    /// Whether the block's log is on.
    pub fn is_logging(&self, block: BlockId) -> bool {
        self.lock().blocks.get(&block).is_some_and(|(on, _)| *on)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn enter(&self, call: FakeCall, name: &'static str, block: BlockId) -> Result<MutexGuard<'_, Inner>> {
        let mut inner = self.lock();
        let fails = match &mut inner.fail {
            Some((which, after)) if *which == call => match after.checked_sub(1) {
                Some(left) => {
                    *after = left;
                    false
                }
                None => true,
            },
            _ => false,
        };
        if fails {
            inner.fail = None;
            let source = io::Error::from_raw_os_error(libc::EIO);
            return Err(Error::Ioctl { call: name, context: format!("block {}, injected", block.0), source });
        }
        Ok(inner)
    }
}

fn no_log(call: &'static str, block: BlockId) -> Error {
    let source = io::Error::from_raw_os_error(libc::ENOENT);
    Error::Ioctl { call, context: format!("block {}: its log is off", block.0), source }
}

impl DirtyLog for FakeLog {
    fn pages(&self, block: BlockId) -> Option<u64> {
        self.lock().blocks.get(&block).map(|(_, pages)| pages.len() as u64)
    }

    fn set_logging(&mut self, block: BlockId, on: bool) -> Result<()> {
        let initially_set = self.protect == FakeProtect::ManualInitiallySet;
        let mut inner = self.enter(FakeCall::SetLogging, "set_logging", block)?;
        let (logging, pages) = inner.blocks.get_mut(&block).ok_or_else(|| no_log("set_logging", block))?;
        if *logging != on {
            *logging = on;
            for page in pages {
                *page = Page { logged: on && initially_set, protected: on && !initially_set };
            }
        }
        Ok(())
    }

    fn initially_set(&self) -> bool {
        self.protect == FakeProtect::ManualInitiallySet
    }

    fn fetch_reprotects(&self) -> bool {
        self.protect == FakeProtect::Automatic
    }

    fn fetch(&mut self, block: BlockId, into: &mut [u64]) -> Result<()> {
        let automatic = self.fetch_reprotects();
        let mut inner = self.enter(FakeCall::Fetch, "fetch", block)?;
        let Some((true, pages)) = inner.blocks.get_mut(&block) else { return Err(no_log("fetch", block)) };
        assert_eq!(into.len(), words_for(pages.len() as u64), "one bit for each page");
        into.fill(0);
        for (number, page) in pages.iter_mut().enumerate() {
            into[number / 64] |= u64::from(page.logged) << (number % 64);
            if automatic && page.logged {
                *page = Page { logged: false, protected: true };
            }
        }
        Ok(())
    }

    fn reprotect(&mut self, block: BlockId, first_page: u64, pages: u64, bits: &[u64]) -> Result<()> {
        let mut inner = self.enter(FakeCall::Reprotect, "reprotect", block)?;
        let Some((true, log)) = inner.blocks.get_mut(&block) else { return Err(no_log("reprotect", block)) };
        let end = first_page + pages;
        assert!(first_page.is_multiple_of(PAGES_PER_WORD) && end <= log.len() as u64, "the kernel's shape");
        assert!(pages.is_multiple_of(PAGES_PER_WORD) || end == log.len() as u64, "the kernel's shape");
        assert_eq!(bits.len(), words_for(pages), "one bit for each page of the range");
        for (number, page) in log[first_page as usize..end as usize].iter_mut().enumerate() {
            if bits[number / 64] >> (number % 64) & 1 == 1 && page.logged {
                *page = Page { logged: false, protected: true };
            }
        }
        Ok(())
    }
}
