//! What both of x86-64's boot protocols share: where their parameters lie, and the state in which a kernel is entered.

use std::ops::Range;

/// Where the parameters of either protocol go. What is from its end on, the guests of `workload` have for their other vCPUs' first
/// instructions.
pub(super) const PARAMETERS: Range<u64> = 0x6000..0x8000;
/// The command line.
pub(super) const COMMAND_LINE: u64 = 0x2_0000;
/// The most bytes in a command line, with its final zero (Linux: COMMAND_LINE_SIZE).
pub(super) const COMMAND_LINE_BYTES: usize = 2048;

/// How a kernel is entered, in what the protocols differ.
#[derive(Default)]
pub(super) struct Start {
    pub rip: u64,
    pub rbx: u64,
    pub rsi: u64,
    /// Where its descriptors are, and their bytes less one; none for PVH, which promises no table.
    pub descriptors: Option<(u64, u16)>,
}
