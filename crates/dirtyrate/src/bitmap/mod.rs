//! Page bitmaps: one bit per guest page, in the kernel's layout (bit `n % 64` of word `n / 64` is page `n` of the
//! block). [`PageBitmap`] keeps the promise that no bit past the block's last page is ever set.
//!
//! [`Kernels`] are the passes over words: counting, merging into several clients at once, runs, positions, heat,
//! granules. They are written once, in `generic` and `granules`, and compiled in `arch` for each instruction set that
//! makes them faster, with prefetch [`Hints`] and without. At the first use `dispatch` chooses the best variant for
//! this CPU.
//!
//! Each module imports only modules to its left:
//!
//! ```text
//! line, hints ← kernels ← generic ← granules ← arch ← dispatch ← ranges ← page_bitmap        sparse
//! ```

mod arch;
mod dispatch;
mod generic;
mod granules;
mod hints;
mod kernels;
mod line;
#[cfg(any(test, fuzzing))]
pub mod oracle;
mod page_bitmap;
pub mod ranges;
mod sparse;
#[cfg(test)]
mod tests;

pub use dispatch::BACKEND_VARIABLE;
pub use hints::{HINTS_VARIABLE, Hints};
pub use kernels::{Backend, GranuleCount, Kernels, Target};
pub use line::{PAGES_PER_WORD, WORDS_PER_LINE, tail_mask, words_for};
pub use page_bitmap::{PageBitmap, try_zeroed};
pub use ranges::{PageRange, Ranges};
pub use sparse::{REGION_WORDS, Region, SparsePages};
