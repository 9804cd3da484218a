//! The two quantiles that intervals need.
//!
//! Of the crates that have the incomplete beta function, `puruspe` 0.4.4 returns 0 where both arguments are past 3000,
//! `statrs` 0.18 gives up after 140 terms (0.460 for 0.520 at a = b = 8 × 10^6), and its next version needs a newer
//! Rust than ours.

/// The value that a standard normal variable exceeds with probability `tail`, which is in (0, ½].
pub fn normal_upper_quantile(tail: f64) -> f64 {
    // 0.5 erfc(z / √2) underflows at 38.6.
    bisect(0.0, 40.0, |z| 0.5 * libm::erfc(z / std::f64::consts::SQRT_2) <= tail)
}

/// The x in [0, 1] at which P(X ≤ x) of a beta variable with a, b > 0 reaches `probability`.
pub fn beta_quantile(a: f64, b: f64, probability: f64) -> f64 {
    let log_beta = log_beta(a, b);
    bisect(0.0, 1.0, |x| regularised(a, b, log_beta, x) >= probability)
}

fn log_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

/// P(X ≤ x) for a beta variable: the regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF
/// 8.17.22; Numerical Recipes, 3rd edition, 6.4), which takes O(√max(a, b)) terms. `log_beta` is that of a and b.
fn regularised(a: f64, b: f64, log_beta: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (a * x.ln() + b * (-x).ln_1p() - log_beta).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(a, b, x) / a
    } else {
        1.0 - front * continued_fraction(b, a, 1.0 - x) / b
    }
}

/// Lentz's method, for x on the side of the mean where the fraction converges fast.
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    let not_zero = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / not_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    // So many terms are enough for 10^12 samples.
    for m in 1..1_000_000_u32 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a - 1.0 + 2.0 * m) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 1.0 + 2.0 * m));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / not_zero(1.0 + term * d);
            c = not_zero(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() <= 2.0 * f64::EPSILON {
            break;
        }
    }
    fraction
}

/// The least value in `low..=high` for which `reached` is true. `reached` must be false below this value and true above
/// it. The result is exact to the last digits, or to 10^-300.
fn bisect(mut low: f64, mut high: f64, reached: impl Fn(f64) -> bool) -> f64 {
    while high - low > 4.0 * f64::EPSILON * high && high > 1e-300 {
        let middle = low + (high - low) / 2.0;
        if reached(middle) { high = middle } else { low = middle }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beta_distribution(a: f64, b: f64, x: f64) -> f64 {
        regularised(a, b, log_beta(a, b), x)
    }

    #[test]
    fn normal_quantiles_are_those_of_the_tables() {
        for (tail, z) in [
            (0.5, 0.0),
            (0.25, 0.674_489_750_196_081_7),
            (0.05, 1.644_853_626_951_472_7),
            (0.025, 1.959_963_984_540_054),
            (0.005, 2.575_829_303_548_900_4),
            (1e-9, 5.997_807_015_007_686_5),
        ] {
            assert!((normal_upper_quantile(tail) - z).abs() < 1e-12, "{tail}");
        }
    }

    /// I_x(k, n − k + 1) is P(Binomial(n, x) ≥ k), which can be summed.
    #[test]
    fn the_distribution_equals_the_binomial_sum() {
        for n in [1_u32, 2, 10, 97, 512] {
            for x in [1e-6_f64, 0.001, 0.01, 0.2, 0.5, 0.77, 0.999] {
                let mut term = (-x).ln_1p() * f64::from(n);
                let mut at_least = vec![0.0; n as usize + 2];
                let mut terms = Vec::new();
                for k in 0..=n {
                    terms.push(term.exp());
                    term += (f64::from(n - k) / f64::from(k + 1)).ln() + (x / (1.0 - x)).ln();
                }
                for k in (0..=n as usize).rev() {
                    at_least[k] = at_least[k + 1] + terms[k];
                }
                for k in 1..=n {
                    let found = beta_distribution(f64::from(k), f64::from(n - k + 1), x);
                    assert!((found - at_least[k as usize]).abs() < 1e-11, "n {n}, k {k}, x {x}: {found}");
                }
            }
        }
    }

    /// Near the middle, a beta variable of 10^7 and more is normal to 10^-4.
    #[test]
    fn the_distribution_is_right_for_millions_of_samples() {
        for n in [1e7_f64, 1e9] {
            for p in [0.01_f64, 0.5] {
                for z in [-2.5_f64, -0.3, 0.01, 0.7, 2.5] {
                    let x = p + z * (p * (1.0 - p) / n).sqrt();
                    let normal = 0.5 * libm::erfc(-z / std::f64::consts::SQRT_2);
                    assert!((beta_distribution(n * p, n * (1.0 - p), x) - normal).abs() < 1e-3, "n {n}, p {p}, z {z}");
                }
            }
        }
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        for (a, b) in [(1.0, 512.0), (3.0, 510.0), (256.0, 257.0), (0.5, 0.5), (5e3, 5e5)] {
            for probability in [1e-6, 0.025, 0.5, 0.975] {
                let x = beta_quantile(a, b, probability);
                assert!((beta_distribution(a, b, x) - probability).abs() < 1e-9, "{a} {b} {probability}");
            }
        }
    }
}
