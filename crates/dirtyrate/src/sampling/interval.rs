//! Confidence intervals of a fraction that was found in a sample.

use std::str::FromStr;

use super::beta::{beta_quantile, normal_upper_quantile};
use crate::error::{Error, Result};
use crate::names;

/// The bounds of a figure, with a stated confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The share of measurements whose interval contains the true figure, in (0, 1).
    pub confidence: f64,
}

impl Interval {
    /// The interval of a figure that is `factor` times as large.
    pub(super) fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, high: self.high * factor, ..self }
    }
}

/// How an interval is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IntervalMethod {
    /// Wilson's score interval (1927; Brown, Cai and DasGupta 2001). Averaged over all fractions, it contains the truth
    /// in the nominal share of measurements, but not at each fraction. At 95 % and 512 samples the share is 93.7 to
    /// 97.7 % for fractions between 1 and 99 %, and 95.04 % on average. Nearer to 0 and 1, where few hits (or misses)
    /// are expected, it is 90.6 % if half a hit is expected, and 83.8 % at worst.
    #[default]
    Wilson,
    /// Clopper and Pearson's interval (1934), which never covers less than the nominal share, and is wider.
    ClopperPearson,
}

impl IntervalMethod {
    /// All values, the default first.
    pub const ALL: [Self; 2] = [Self::Wilson, Self::ClopperPearson];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wilson => "wilson",
            Self::ClopperPearson => "clopper-pearson",
        }
    }
}

impl FromStr for IntervalMethod {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::find("interval", name, &Self::ALL, Self::name)
    }
}

/// Computes intervals by one method and with one confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intervals {
    method: IntervalMethod,
    confidence: f64,
    z: f64,
}

impl Default for Intervals {
    /// Wilson, 95 %.
    fn default() -> Self {
        Self::of(IntervalMethod::default(), 0.95)
    }
}

impl Intervals {
    /// Intervals with a `confidence` in (0, 1).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for another confidence.
    pub fn new(method: IntervalMethod, confidence: f64) -> Result<Self> {
        check(confidence)?;
        Ok(Self::of(method, confidence))
    }

    fn of(method: IntervalMethod, confidence: f64) -> Self {
        Self { method, confidence, z: normal_upper_quantile((1.0 - confidence) / 2.0) }
    }

    /// The confidence.
    pub fn confidence(&self) -> f64 {
        self.confidence
    }

    /// The method.
    pub fn method(&self) -> IntervalMethod {
        self.method
    }

    /// The interval of a fraction, if `hits` of `samples` were found; 0 ≤ hits ≤ samples. Both need not be whole
    /// numbers, because samples can be weighted. Without samples the interval is all of [0, 1].
    ///
    /// The two ends share the probability of a miss equally. With 0 hits the lower end is 0 and cannot miss, so that
    /// the upper end alone holds with a probability of (1 + confidence) / 2. [`upper_bound_without_hits`] is a smaller
    /// bound for that case.
    pub fn interval(&self, hits: f64, samples: f64) -> Interval {
        // A number of samples or hits that is not a number says nothing either.
        if !(samples > 0.0 && samples.is_finite()) || hits.is_nan() {
            return Interval { low: 0.0, high: 1.0, confidence: self.confidence };
        }
        let hits = hits.clamp(0.0, samples);
        let (low, high) = match self.method {
            IntervalMethod::Wilson => wilson(hits, samples, self.z),
            IntervalMethod::ClopperPearson => clopper_pearson(hits, samples, (1.0 - self.confidence) / 2.0),
        };
        let fraction = hits / samples;
        let low = if hits == 0.0 { 0.0 } else { low.clamp(0.0, fraction) };
        let high = if hits == samples { 1.0 } else { high.clamp(fraction, 1.0) };
        Interval { low, high, confidence: self.confidence }
    }
}

/// An upper bound of the fraction, if none of `samples` samples is a hit: for a larger fraction this would have a
/// probability of at most 1 − `confidence`. The bound is 1 − (1 − confidence)^(1/n), which is about 3 / n at 95 %, or 6
/// MiB per GiB for 512 samples. It is one-sided, exact for a simple random sample, and on the safe side for a
/// stratified one.
///
/// # Errors
///
/// [`Error::Argument`] for a confidence that is not in (0, 1).
pub fn upper_bound_without_hits(samples: u64, confidence: f64) -> Result<f64> {
    check(confidence)?;
    Ok(if samples == 0 { 1.0 } else { -f64::exp_m1((-confidence).ln_1p() / samples as f64) })
}

fn check(confidence: f64) -> Result<()> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(());
    }
    Err(Error::Argument(format!("a confidence of {confidence}: give more than 0 and less than 1, such as 0.95")))
}

/// The fractions p with (p̂ − p)² ≤ z² p (1 − p) / n.
fn wilson(hits: f64, samples: f64, z: f64) -> (f64, f64) {
    let z2 = z * z;
    let centre = hits + z2 / 2.0;
    let half = z * (hits * (1.0 - hits / samples) + z2 / 4.0).sqrt();
    ((centre - half) / (samples + z2), (centre + half) / (samples + z2))
}

/// The fractions at which neither so many nor so few hits have a probability below `tail`.
fn clopper_pearson(hits: f64, samples: f64, tail: f64) -> (f64, f64) {
    let misses = samples - hits;
    let low = if hits > 0.0 { beta_quantile(hits, misses + 1.0, tail) } else { 0.0 };
    let high = if misses > 0.0 { beta_quantile(hits + 1.0, misses, 1.0 - tail) } else { 1.0 };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(method: IntervalMethod, confidence: f64, hits: u32, samples: u32) -> (f64, f64) {
        let intervals = Intervals::new(method, confidence).expect("a good confidence");
        let interval = intervals.interval(hits.into(), samples.into());
        (interval.low, interval.high)
    }

    /// The published values, to the digits that were published.
    #[test]
    fn wilson_is_as_published() {
        for (hits, low, high, digits) in [
            (0, 0.0, 0.00745, 5),
            (1, 0.00034, 0.0110, 4),
            (10, 0.0106, 0.0356, 4),
            (51, 0.0766, 0.1286, 4),
            (256, 0.4569, 0.5431, 4),
        ] {
            let found = ends(IntervalMethod::Wilson, 0.95, hits, 512);
            let half = 0.5 * 10_f64.powi(-digits) + 1e-12;
            assert!((found.0 - low).abs() <= half && (found.1 - high).abs() <= half, "{hits}: {found:?}");
        }
        // The textbook's: n = 10, k = 1.
        let found = ends(IntervalMethod::Wilson, 0.95, 1, 10);
        assert!((found.0 - 0.017_876).abs() < 1e-6 && (found.1 - 0.404_150).abs() < 1e-6, "{found:?}");
    }

    /// k = 0 and k = n have closed forms; k = 1 of 10 is in every table.
    #[test]
    fn clopper_pearson_is_as_published() {
        let found = ends(IntervalMethod::ClopperPearson, 0.95, 1, 10);
        assert!((found.0 - 0.002_529).abs() < 1e-6 && (found.1 - 0.445_016).abs() < 1e-6, "{found:?}");
        for samples in [1, 10, 512, 1 << 24] {
            for confidence in [0.5, 0.95, 0.999] {
                let closed = 1.0 - ((1.0 - confidence) / 2.0_f64).powf(1.0 / f64::from(samples));
                let (low, high) = ends(IntervalMethod::ClopperPearson, confidence, 0, samples);
                assert!(low == 0.0 && (high / closed - 1.0).abs() < 1e-6, "{samples}: {high}, not {closed}");
                let (low, high) = ends(IntervalMethod::ClopperPearson, confidence, samples, samples);
                assert!((low - (1.0 - closed)).abs() < 1e-9 && high == 1.0, "{samples}: {low}");
            }
        }
    }

    #[test]
    fn intervals_hold_the_fraction_mirror_each_other_and_grow_with_the_confidence() {
        for method in [IntervalMethod::Wilson, IntervalMethod::ClopperPearson] {
            for samples in [1, 2, 7, 512, 524_288] {
                for hits in [0, 1, samples / 3, samples / 2, samples - 1, samples] {
                    let fraction = f64::from(hits) / f64::from(samples);
                    let mut inner = (fraction, fraction);
                    for confidence in [1e-6, 0.5, 0.95, 0.999_999] {
                        let (low, high) = ends(method, confidence, hits, samples);
                        assert!(
                            0.0 <= low && low <= inner.0 && inner.1 <= high && high <= 1.0,
                            "{method:?} {hits}/{samples}"
                        );
                        let mirrored = ends(method, confidence, samples - hits, samples);
                        assert!((mirrored.0 + high - 1.0).abs() < 1e-9 && (mirrored.1 + low - 1.0).abs() < 1e-9);
                        inner = (low, high);
                    }
                }
            }
        }
    }

    #[test]
    fn no_hits_bound_is_6_mib_per_gib() {
        let bound = upper_bound_without_hits(512, 0.95).expect("good");
        assert!((bound * 1024.0 - 5.97).abs() < 0.01, "{bound}");
        assert!(bound < ends(IntervalMethod::ClopperPearson, 0.95, 0, 512).1);
        assert_eq!(upper_bound_without_hits(0, 0.95).expect("good"), 1.0);
    }

    #[test]
    fn numbers_that_are_nan_give_the_interval_from_0_to_1() {
        for method in [IntervalMethod::Wilson, IntervalMethod::ClopperPearson] {
            let intervals = Intervals::new(method, 0.95).expect("good");
            for (hits, samples) in [(1.0, f64::NAN), (f64::NAN, 3.0), (1.0, f64::INFINITY), (1.0, -1.0), (0.0, 0.0)] {
                let interval = intervals.interval(hits, samples);
                assert_eq!((interval.low, interval.high), (0.0, 1.0), "{method:?}: {hits} of {samples}");
            }
        }
    }

    #[test]
    fn a_confidence_out_of_range_is_refused() {
        for confidence in [0.0, 1.0, -0.1, 95.0, f64::NAN] {
            assert!(Intervals::new(IntervalMethod::Wilson, confidence).is_err(), "{confidence}");
            assert!(upper_bound_without_hits(1, confidence).is_err(), "{confidence}");
        }
    }
}
