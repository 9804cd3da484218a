//! What both of x86-64's boot protocols share: where their parameters lie, and the state in which a kernel is entered.

use std::ops::Range;

/// The place of the boot parameters of both protocols. Behind it the guests of `workload` have the first instructions
/// of their other vCPUs.
pub(super) const PARAMETERS: Range<u64> = 0x6000..0x8000;
/// The command line.
pub(super) const COMMAND_LINE: u64 = 0x2_0000;
/// The most bytes in a command line, with its final zero (Linux: COMMAND_LINE_SIZE).
pub(super) const COMMAND_LINE_BYTES: usize = 2048;

/// The details of entering a kernel in which the protocols differ.
#[derive(Default)]
pub(super) struct Start {
    pub rip: u64,
    pub rbx: u64,
    pub rsi: u64,
    /// The address of the segment descriptors, and their size in bytes minus one. `None` for PVH, which promises no
    /// descriptor table.
    pub descriptors: Option<(u64, u16)>,
}
