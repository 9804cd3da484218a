//! Estimates of fractions of pages, from the samples that changed (hits).
//!
//! **One block.** Of n samples, k are hits; the fraction is k / n. In a simple random sample k is binomial. In a
//! stratified one it is a sum of independent trials, whose chances p_i differ from stratum to stratum and have the mean
//! p. Among such sums with one mean, the binomial one is the most spread: Hoeffding (1956, theorem 5) shows that P(b ≤
//! k ≤ c) is smallest for equal p_i, for all whole b ≤ np ≤ c. The hits at which an interval holds p are such a run, so
//! a stratified sample is covered at least as often as a simple random one; and its variance, Σ p_i (1 − p_i) / n², is
//! at most p (1 − p) / n.
//!
//! **Several blocks.** Wanted is a mean with weights, p = Σ c_b p_b, Σ c_b = 1: of pages (c_b ∝ pages), or of bytes per
//! second (c_b ∝ bytes / window). p̂ = Σ c_b k_b / n_b is unbiased, and with m = min n_b / c_b
//!
//! ```text
//! Var p̂ ≤ Σ c_b² p_b (1 − p_b) / n_b ≤ (1 / m) Σ c_b p_b (1 − p_b) ≤ p (1 − p) / m        (p (1 − p) is concave)
//! ```
//!
//! so p̂ is no more spread than m simple random samples: m p̂ = Σ (m c_b / n_b) k_b is a sum of trials that count 1 at
//! most. The interval is that of m p̂ hits in m samples. Because a plan rounds samples up in every block, m is never
//! below pages × samples per GiB: a small block that has its one sample costs no precision. For one block m is n.
//!
//! **Increments.** The hits of one comparison that were none in the one before are trials of their own, with the chance
//! that a page is first found changed there. So the interval of an increment is made of them as above, and not as a
//! difference of two cumulative figures, which share their samples.

use crate::sum::sum;

use super::interval::{Interval, Intervals};
use super::plan::Design;

/// A fraction of pages, in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Estimate {
    /// The estimate, which the plan does not bias.
    pub fraction: f64,
    /// The interval in which the true fraction lies.
    pub interval: Interval,
}

/// A number of pages.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct EstimatedPages {
    /// The estimate, which need not be whole.
    pub pages: f64,
    /// Where the true number lies, in pages.
    pub interval: Interval,
}

impl Estimate {
    /// How many of so many pages the fraction is.
    pub(super) fn of_pages(self, all: u64) -> EstimatedPages {
        let Self { fraction, interval } = self;
        let all = all as f64;
        EstimatedPages { pages: fraction * all, interval: interval.times(all) }
    }
}

/// One block's share of a figure.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// The weight of the block's fraction in the figure, in any unit.
    pub weight: f64,
    pub hits: u64,
    pub samples: u64,
}

/// The weighted mean of the blocks' fractions, with its interval. The weights must be positive.
pub fn combine(parts: impl Iterator<Item = Part> + Clone, intervals: &Intervals) -> Estimate {
    let total = sum(parts.clone().map(|part| part.weight));
    let shares = parts.clone().map(|part| (part.weight / total, part));
    let fraction = sum(shares.clone().map(|(share, part)| share * part.hits as f64 / part.samples as f64));
    let effective = shares.map(|(share, part)| part.samples as f64 / share).reduce(f64::min).unwrap_or(0.0);
    // If every sample is a hit, the fraction is exactly 1, although the sum of the shares may be rounded.
    let fraction = if effective > 0.0 && parts.clone().all(|part| part.hits == part.samples) { 1.0 } else { fraction };
    Estimate { fraction, interval: intervals.interval(fraction * effective, effective) }
}

/// Estimates the variance of k / n from the samples of one block, in their order.
///
/// Stratified: one sample says nothing about the variance in its stratum, so neighbours are paired (the last three are
/// a group if n is odd), as if they were two samples of one stratum twice as large: Σ m / (m − 1) Σ (z − z̄)² over the
/// groups of m, over n². Its expectation is the variance and the squared differences of neighbouring strata: too large,
/// never too small (Cochran, Sampling Techniques, 5A.12, "collapsed strata"). Simple random: p̂ (1 − p̂) / (n − 1). A
/// sample alone: the most that it can be.
pub fn variance(design: Design, hits: &[bool]) -> f64 {
    let samples = hits.len() as f64;
    // m / (m − 1) Σ (z − z̄)² of a group.
    let spread = |group: &[bool]| {
        let (m, k) = (group.len() as f64, group.iter().filter(|&&hit| hit).count() as f64);
        k * (m - k) / (m - 1.0)
    };
    match (hits.len(), design) {
        (0 | 1, _) => 0.25,
        (_, Design::SimpleRandom) => spread(hits) / (samples * samples),
        (length, Design::Stratified) => {
            let (pairs, last) = hits.split_at(if length % 2 == 0 { length } else { length - 3 });
            let paired = sum(pairs.chunks_exact(2).map(spread));
            (paired + if last.is_empty() { 0.0 } else { spread(last) }) / (samples * samples)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::IntervalMethod;

    fn part(weight: f64, hits: u64, samples: u64) -> Part {
        Part { weight, hits, samples }
    }

    #[test]
    fn blocks_in_proportion_are_one_sample() {
        for method in [IntervalMethod::Wilson, IntervalMethod::ClopperPearson] {
            let intervals = Intervals::new(method, 0.9).expect("good");
            let all = combine([part(8.0, 51, 512)].into_iter(), &intervals);
            assert!((all.fraction - 51.0 / 512.0).abs() < 1e-15);
            let split = combine([part(4.0, 1, 256), part(2.0, 50, 128), part(2.0, 0, 128)].into_iter(), &intervals);
            assert!((split.fraction - all.fraction).abs() < 1e-12);
            assert!((split.interval.low - all.interval.low).abs() < 1e-9);
            assert!((split.interval.high - all.interval.high).abs() < 1e-9);
        }
    }

    #[test]
    fn a_small_block_counts_by_its_pages_and_costs_no_precision() {
        let intervals = Intervals::default();
        let large = combine([part(262_144.0, 51, 512)].into_iter(), &intervals);
        let both = combine([part(262_144.0, 51, 512), part(1.0, 1, 1)].into_iter(), &intervals);
        assert!((both.fraction - (51.0 * 512.0 + 1.0) / 262_145.0).abs() < 1e-12, "{both:?}");
        let width = |estimate: Estimate| estimate.interval.high - estimate.interval.low;
        assert!((width(both) / width(large) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_fraction_of_so_many_pages_is_a_number_of_pages() {
        let estimate = combine([part(1.0, 128, 512)].into_iter(), &Intervals::default());
        let EstimatedPages { pages, interval } = estimate.of_pages(1000);
        assert_eq!(pages, 250.0);
        assert_eq!((interval.low, interval.high), (estimate.interval.low * 1000.0, estimate.interval.high * 1000.0));
        assert_eq!(interval.confidence, estimate.interval.confidence);
        assert!(interval.low < pages && pages < interval.high, "{interval:?}");
    }

    #[test]
    fn no_hits_and_all_hits_give_fractions_of_0_and_1() {
        let intervals = Intervals::default();
        let none = combine([].into_iter(), &intervals);
        assert_eq!((none.fraction, none.interval.low, none.interval.high), (0.0, 0.0, 1.0));
        let zero = combine([part(1.0, 0, 3), part(0.3, 0, 1)].into_iter(), &intervals);
        assert_eq!((zero.fraction, zero.interval.low), (0.0, 0.0));
        let full = combine([part(1.0, 3, 3), part(0.3, 1, 1), part(0.7, 9, 9)].into_iter(), &intervals);
        assert_eq!((full.fraction, full.interval.high), (1.0, 1.0));
    }

    /// Over every outcome of a few strata with known chances, the mean of the estimate is at least the variance, and
    /// equal to it where neighbours are alike.
    #[test]
    fn the_variance_estimate_is_never_too_small_on_average() {
        for chances in [&[0.3; 6][..], &[0.1, 0.1, 0.8, 0.8], &[0.0, 0.2, 1.0, 0.5, 0.7], &[0.9, 0.1, 0.4], &[0.4, 0.4]]
        {
            let n = chances.len();
            for design in [Design::Stratified, Design::SimpleRandom] {
                let mut mean = 0.0;
                for outcome in 0..1_u32 << n {
                    let hits: Vec<_> = (0..n).map(|i| outcome >> i & 1 == 1).collect();
                    let each = hits.iter().zip(chances).map(|(&hit, p)| if hit { *p } else { 1.0 - p });
                    mean += each.product::<f64>() * variance(design, &hits);
                }
                let exact = chances.iter().map(|p| p * (1.0 - p)).sum::<f64>() / (n * n) as f64;
                assert!(mean >= exact - 1e-12, "{design:?} {chances:?}: {mean} < {exact}");
                if design == Design::Stratified && chances.chunks(2).all(|pair| pair.len() == 2 && pair[0] == pair[1]) {
                    assert!((mean - exact).abs() < 1e-12, "{chances:?}: {mean}, not {exact}");
                }
            }
        }
        assert_eq!(variance(Design::Stratified, &[true]), 0.25);
    }
}
