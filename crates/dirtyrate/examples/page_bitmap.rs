//! Page bitmaps alone: one bit for each page of a block, in the layout that KVM has. Nothing here needs KVM.
//!
//! ```text
//! $ cargo run -p dirtyrate --example page_bitmap
//! 750 pages are dirty, 250 of them newly
//! 750 pages from page 100 on
//! dirty pages of each 256: [156, 256, 256, 82]
//! ```

use dirtyrate::Result;
use dirtyrate::bitmap::{Kernels, PageBitmap, PageRange, Target, words_for};

/// What the example prints, line by line.
pub fn run() -> Result<Vec<String>> {
    // What a client has: pages 100 to 599 of 1000.
    let mut client = PageBitmap::try_new(1000)?;
    client.set_range(PageRange { first: 100, pages: 500 });

    // What a log says: pages 350 to 849. One pass merges it into any number of clients, and counts what is new to each.
    let mut log = PageBitmap::try_new(1000)?;
    log.set_range(PageRange { first: 350, pages: 500 });
    let mut words = client.words().to_vec();
    let mut targets = [Target::new(&mut words)];
    let kernels = Kernels::get();
    kernels.merge(log.words(), &mut targets);
    let newly = targets[0].newly();
    assert_eq!(words.len(), words_for(1000));

    let mut lines = vec![format!("{} pages are dirty, {newly} of them newly", kernels.count(&words))];
    let mut runs = [[0; 2]; 8];
    let found = kernels.ranges(&words, 0, &mut runs);
    lines.extend(runs[..found].iter().map(|[first, pages]| format!("{pages} pages from page {first} on")));
    let mut heat = [0; 4];
    kernels.heat(&words, 256, &mut heat);
    lines.push(format!("dirty pages of each 256: {heat:?}"));
    Ok(lines)
}

#[allow(dead_code, reason = "a test takes the lines instead")]
fn main() -> Result<()> {
    run()?.iter().for_each(|line| println!("{line}"));
    Ok(())
}
