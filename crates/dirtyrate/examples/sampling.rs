//! Page sampling alone: how much of a memory changes, estimated from the hashes of a few of its pages. The memory is an
//! array here. [`PageReader`] is all that sampling asks of a memory, so the memory can as well be a guest's, or that of
//! another process.
//!
//! ```text
//! $ cargo run -p dirtyrate --example sampling
//! 256 of 1024 samples changed
//! an estimate of 4096 pages, between 3677 and 4545; 4096 were written
//! ```

use dirtyrate::sampling::{
    Contents, IntervalMethod, Intervals, Look, PageBlock, PageReader, Plan, PlanOptions, Sampling,
};
use dirtyrate::{CancelToken, Result};

const PAGE_BYTES: usize = 4096;
const PAGES: usize = 16_384;
/// How many pages are written within the window.
const WRITTEN: usize = 4096;

struct Memory {
    bytes: Vec<u8>,
    blocks: [PageBlock; 1],
}

impl PageReader for Memory {
    fn page_size(&self) -> u64 {
        PAGE_BYTES as u64
    }

    fn blocks(&self) -> &[PageBlock] {
        &self.blocks
    }

    fn read(&mut self, _: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
        for (at, look) in looks.iter().enumerate() {
            visit(at, Contents::Bytes(&self.bytes[look.page as usize * PAGE_BYTES..][..PAGE_BYTES]));
        }
        Ok(())
    }
}

/// What the example prints, line by line.
pub fn run() -> Result<Vec<String>> {
    let blocks = [PageBlock { name: "array".to_owned(), guest_address: 0, pages: PAGES as u64 }];
    let options = PlanOptions::default().with_samples_per_gib(16_384);
    let plan = Plan::new(&blocks, PAGE_BYTES as u64, options)?;
    let memory = Memory { bytes: vec![0; PAGES * PAGE_BYTES], blocks };

    let never = CancelToken::new();
    let mut sampling = Sampling::begin(memory, plan, &never)?;
    sampling.reader_mut().bytes[..WRITTEN * PAGE_BYTES].fill(1);
    let sampled = sampling.compare(&never)?;

    let estimate = sampled.dirty(&Intervals::new(IntervalMethod::Wilson, 0.95)?);
    let pages = |fraction: f64| (fraction * PAGES as f64).round();
    let (low, high) = (pages(estimate.interval.low), pages(estimate.interval.high));
    Ok(vec![
        format!("{} of {} samples changed", sampled.hits, sampled.samples),
        format!("an estimate of {} pages, between {low} and {high}; {WRITTEN} were written", pages(estimate.fraction)),
    ])
}

#[allow(dead_code, reason = "a test takes the lines instead")]
fn main() -> Result<()> {
    run()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
