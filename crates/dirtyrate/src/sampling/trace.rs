//! QEMU's trace events about single pages and blocks (migration/trace-events), by name and fields: `tracing` events of
//! level `trace` whose message is the name.
//!
//! QEMU's `skip_sample_ramblock` is not among them: no block is skipped here, however small.

use tracing::{Level, trace};

/// Where they come from, for who filters by it.
const TARGET: &str = "dirtyrate::qemu";

/// Whether anybody listens: there are as many events as looks.
pub fn enabled() -> bool {
    tracing::enabled!(target: TARGET, Level::TRACE)
}

/// A page was looked at. Of our hash the low 32 bits are told: QEMU's has no more.
pub fn get_ramblock_vfn_hash(idstr: &str, vfn: u64, hash: u64) {
    trace!(target: TARGET, idstr, vfn, hash = hash as u32, "get_ramblock_vfn_hash");
}

/// It is no longer what it was.
pub fn calc_page_dirty_rate(idstr: &str, new_hash: u64, old_hash: u64) {
    trace!(target: TARGET, idstr, new_hash = new_hash as u32, old_hash = old_hash as u32, "calc_page_dirty_rate");
}

/// A block is no longer where it was, or not there at all.
pub fn find_page_matched(idstr: &str) {
    trace!(target: TARGET, idstr, "find_page_matched");
}
