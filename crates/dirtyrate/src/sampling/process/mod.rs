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
mod mappings;
mod presence;
mod process_fd;
mod reader;
mod sample;

pub use process_fd::Process;
pub use reader::{ProcessRange, ProcessReader};
pub use sample::sample_process_at;
