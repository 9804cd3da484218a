//! Page sampling of another process's memory, from outside and without its help.
//!
//! ```text
//! ProcessRange (where the guest's memory is) ─► ProcessReader ─► presence (which pages exist) ─► process_vm_readv
//!                                                    │                                      └──► the file, if it is shared
//!                                                    └── Process (pidfd, pagemap, maps): still the same program, still the same mappings
//! ```
//!
//! [`sample_process_at`] runs a measurement to a list of deadlines. A look costs the process nothing but the reading:
//! it maps no page and no page table, takes nothing from the disk or from swap, and asks no userfaultfd handler for a
//! page. Reading without asking first would do all of this, so the kernel is always asked first, also about pages that
//! an earlier look found.

mod backing;
mod kept;
mod mappings;
mod presence;
mod process_fd;
mod ranges;
mod reader;
mod sample;
mod scan;

pub(crate) use backing::BackingFile;
pub(crate) use kept::{Kept, replaced};
pub(crate) use mappings::Mapping;
pub(crate) use presence::{Presence, PresenceMap};
pub use process_fd::Process;
pub(crate) use ranges::MappedRanges;
pub use ranges::ProcessRange;
pub use reader::ProcessReader;
pub(crate) use sample::STOPPED_WITHIN;
pub use sample::sample_process_at;
pub(crate) use scan::{PAGE_IS_SOFT_DIRTY, PageRegion, scan_pages};
