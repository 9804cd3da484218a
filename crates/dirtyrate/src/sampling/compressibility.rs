//! How well the pages of a memory compress, from a few of them: what QEMU's multifd would send with zstd.
//!
//! A channel of QEMU's multifd compresses all of its pages in one stream, and flushes the stream at the end of each
//! packet of 128 pages (512 KiB). So the packets before, as far as the stream looks back, help to compress the next
//! one. The same is done here with sampled pages. Pages of zeros are left out, because QEMU sends none of them.
//!
//! **The interval.** The pages are dealt to [`PACKETS`] packets in turn, by address, so that each packet is a sample of
//! the whole memory by itself (interpenetrating samples: Cochran, Sampling Techniques, 13.16). The spread between them
//! is the error of the mean, however different the parts of the memory are. The first packet fills the stream's window,
//! as it would be full all through a migration, and does not count.
//!
//! **Which way it is wrong.** Pages that are neighbours have more in common than the pages of a sample. So the pages of
//! a migration compress as well as that or better.

use std::time::Duration;

use super::beta::beta_quantile;
use super::interval::{Interval, Intervals};
use super::plan::{LEAST_SAMPLES_PER_GIB, MOST_SAMPLES_PER_GIB, Plan, PlanOptions};
use super::reader::{Contents, Look, PageReader};
use super::room::reserved;
use super::zstd::Stream;
use crate::error::{Error, Result};
use crate::wait::CancelToken;

/// The default of QEMU's `multifd-zstd-level`.
const LEVEL: i32 = 1;
/// The packets that count, and the one that fills the window.
const PACKETS: usize = 9;
/// Pages in a packet of multifd, which has 512 KiB, if a page has 4 KiB.
const MOST_PAGES: usize = 128;
/// With fewer pages in a packet, the tables of codes that a flush begins anew would be a large part of it.
const LEAST_PAGES: usize = 4;
/// So many samples are looked at. More would take longer, and the interval of the zero pages is narrow enough.
const MOST_LOOKS: usize = 8192;
/// How many pages are read in one call.
const BATCH: usize = 64;

/// What the sampled pages of a memory hold.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Compressibility {
    /// How many pages were looked at, without those that are in swap or on the disk only.
    pub samples: u64,
    /// How many of them held nothing but zeros.
    pub zero_pages: u64,
    /// The fraction of pages that hold nothing but zeros.
    pub zero: f64,
    /// The bounds of this fraction.
    pub zero_interval: Interval,
    /// How well the others compress. None if too few pages hold anything.
    pub compressed: Option<Compressed>,
}

/// How well pages compress.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Compressed {
    /// How many pages were compressed and counted.
    pub pages: u64,
    /// Their compressed size, as a part of their size.
    pub ratio: f64,
    /// The bounds of the ratio.
    pub interval: Interval,
    /// How many bytes of pages one thread compresses in a second of CPU time here.
    pub bytes_per_second: f64,
}

/// Looks at some pages of `reader`, and compresses those that hold anything but zeros: at most 1152 pages, which takes
/// some milliseconds of CPU time. Nothing is mapped, as in sampling. `options` say how the pages are chosen; how many
/// they are depends on the memory.
///
/// # Errors
///
/// [`Error::Unsupported`] if the host has no libzstd; [`Error::Cancelled`]; [`Error::OutOfMemory`]; and the
/// errors of [`Plan::new`] and of the reader.
pub fn compressibility<R: PageReader>(
    reader: &mut R,
    options: PlanOptions,
    intervals: &Intervals,
    cancel: &CancelToken,
) -> Result<Compressibility> {
    // If the library is not there, the caller is told so before anything is read.
    let stream = Stream::new(LEVEL)?;
    let looks = looks_of(reader, options)?;
    let mut filled = reserved(looks.len())?;
    let mut zeros = 0_usize;
    visit(reader, &looks, cancel, |at, page| match page {
        Some(page) if page.iter().any(|&byte| byte != 0) => filled.push(at),
        _ => zeros += 1,
    })?;
    let samples = zeros + filled.len();
    let chosen: Vec<_> = thinned(filled.len(), PACKETS * MOST_PAGES).map(|at| looks[filled[at]]).collect();
    let page_size = reader.page_size() as usize;
    let mut pages = reserved(chosen.len() * page_size)?;
    visit(reader, &chosen, cancel, |_, page| {
        // A page may hold zeros by now.
        pages.extend_from_slice(page.filter(|page| page.iter().any(|&byte| byte != 0)).unwrap_or_default());
    })?;
    Ok(Compressibility {
        samples: samples as u64,
        zero_pages: zeros as u64,
        zero: zeros as f64 / samples.max(1) as f64,
        zero_interval: intervals.interval(zeros as f64, samples as f64),
        compressed: compress(stream, &pages, page_size, intervals.confidence(), cancel, &mut |_| ())?,
    })
}

/// The pages to look at, each with the number of its block.
fn looks_of<R: PageReader>(reader: &R, options: PlanOptions) -> Result<Vec<(usize, u64)>> {
    let pages: u64 = reader.blocks().iter().map(|block| block.pages).sum();
    let bytes = u128::from(pages) * u128::from(reader.page_size());
    let density = ((MOST_LOOKS as u128) << 30) / bytes.max(1);
    let density = density.clamp(LEAST_SAMPLES_PER_GIB.into(), MOST_SAMPLES_PER_GIB.into()) as u32;
    let plan = Plan::new(reader.blocks(), reader.page_size(), options.with_samples_per_gib(density))?;
    let all = plan.blocks().iter().enumerate().flat_map(|(block, pages)| pages.iter().map(move |&page| (block, page)));
    let all: Vec<_> = all.collect();
    Ok(thinned(all.len(), MOST_LOOKS).map(|at| all[at]).collect())
}

/// At most `most` numbers below `count`, as far apart as they can be.
fn thinned(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let kept = count.min(most);
    (0..kept).map(move |at| at * count / kept)
}

/// Reads the pages, and hands each to `visit` with its place in `looks`; `None` stands for a page that was never
/// touched. Pages that are in swap or on the disk only are left out.
fn visit<R: PageReader>(
    reader: &mut R,
    looks: &[(usize, u64)],
    cancel: &CancelToken,
    mut visit: impl FnMut(usize, Option<&[u8]>),
) -> Result<()> {
    let page_size = reader.page_size() as usize;
    let mut from = 0;
    for of_block in looks.chunk_by(|a, b| a.0 == b.0) {
        for batch in of_block.chunks(BATCH) {
            cancel.check()?;
            let asked: Vec<_> = batch.iter().map(|&(_, page)| Look { page, touched: false }).collect();
            let mut strange = false;
            reader.read(batch[0].0, &asked, &mut |place, contents| match contents {
                _ if place >= asked.len() => strange = true,
                Contents::Bytes(page) if page.len() != page_size => strange = true,
                Contents::Bytes(page) => visit(from + place, Some(page)),
                Contents::Untouched => visit(from + place, None),
                Contents::NotInMemory => {}
            })?;
            if strange {
                return Err(Error::State("a reader of pages showed what it was not asked for".to_owned()));
            }
            from += batch.len();
        }
    }
    Ok(())
}

/// Compresses `pages` as packets of one stream. `visit` gets the stream.
fn compress(
    mut stream: Stream,
    pages: &[u8],
    page_size: usize,
    confidence: f64,
    cancel: &CancelToken,
    visit: &mut impl FnMut(&[u8]),
) -> Result<Option<Compressed>> {
    let count = pages.len() / page_size;
    if count < PACKETS * LEAST_PAGES {
        return Ok(None);
    }
    let began = cpu_time();
    let mut packets = Vec::with_capacity(PACKETS);
    for packet in 0..PACKETS {
        cancel.check()?;
        let (mut before, mut after) = (0, 0);
        for page in pages.chunks_exact(page_size).skip(packet).step_by(PACKETS) {
            before += page.len();
            after += stream.write(page, visit)?;
        }
        after += stream.flush(visit)?;
        packets.push((before as f64, after as f64));
    }
    let took = cpu_time().saturating_sub(began).max(Duration::from_nanos(1));
    let counted = &packets[1..];
    let (before, after) = counted.iter().fold((0.0, 0.0), |sum, packet| (sum.0 + packet.0, sum.1 + packet.1));
    let ratio = after / before;
    Ok(Some(Compressed {
        pages: (before / page_size as f64) as u64,
        ratio,
        interval: interval(counted, ratio, confidence),
        bytes_per_second: pages.len() as f64 / took.as_secs_f64(),
    }))
}

/// The interval of Student's t of the packets' ratios, for the logarithm of the ratio, so that no bound is negative.
fn interval(packets: &[(f64, f64)], ratio: f64, confidence: f64) -> Interval {
    let freedom = packets.len() as f64 - 1.0;
    let squares: f64 = packets.iter().map(|(before, after)| (after / before - ratio).powi(2)).sum();
    let error = (squares / freedom / packets.len() as f64).sqrt() / ratio;
    // With ν degrees of freedom, ν / (ν + t²) is a beta variable of ν / 2 and 1 / 2.
    let x = beta_quantile(freedom / 2.0, 0.5, 1.0 - confidence);
    let t = (freedom * (1.0 / x - 1.0)).sqrt();
    Interval { low: ratio * (-t * error).exp(), high: ratio * (t * error).exp(), confidence }
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec of ours. The call cannot fail for this clock and a valid pointer; if it did, the time
    // would stay 0.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
#[path = "tests/compressibility.rs"]
mod tests;
