//! The pages that another process wrote, by the kernel's soft-dirty bits: exact, from outside, and without its help.
//!
//! ```text
//! /proc/PID/clear_refs ─► clears every bit, protects every page ─► … the window … ─► bits (PAGEMAP_SCAN, or pagemap)
//!                                                                          │
//!              tripwire: bits that are set must stay set  ◄────────────────┤
//!              traps: huge pages, merged pages, unseen writes  ◄───────────┘   (/proc/PID/smaps, before and after)
//! ```
//!
//! [`measure_soft_dirty_at`] runs a measurement to a list of deadlines. The bits are cleared once, and pages add up
//! until the last deadline, so a look at one deadline takes nothing away from the next one.
//! [`measure_soft_dirty_at_with`] counts them by region and in granules, too.
//!
//! **What it costs the process.** `clear_refs` walks the page tables of the whole process, and its page faults, those
//! of its vCPUs too, wait for that long. Afterwards each first write to a page faults, in memory that is not measured
//! too, until the page was written once; the end of the window changes nothing about that.
//!
//! **What the bits cannot say.** They belong to the process and not to a client: whoever clears them takes them away
//! from everybody else (CRIU uses them, too). A huge page has one bit. Writes that do not go through the page tables of
//! this process leave no bit: those of another process that shares the memory, and those of a device that is passed
//! through to the guest. What can be recognised is refused, or is in the report.
//!
//! See Documentation/admin-guide/mm/soft-dirty.rst.

mod bits;
mod clearing;
#[cfg(test)]
mod fake_pagemap;
mod kept;
mod kernel;
mod measure;
mod merging;
mod pages;
mod traps;
mod tripwire;

pub use kernel::{has_soft_dirty, may_have_soft_dirty};
pub use measure::{SoftDirtyBlock, SoftDirtyReport, measure_soft_dirty_at, measure_soft_dirty_at_with};
