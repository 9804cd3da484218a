//! Sums of floating-point numbers.

/// The sum of `numbers`, which is 0 if there are none. `Iterator::sum` then gives -0, and a rate of `-0` would reach
/// the user.
pub(crate) fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |sum, number| sum + number)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn no_numbers_give_a_zero_without_a_sign() {
        assert!(sum(std::iter::empty()).is_sign_positive());
        assert_eq!(sum([1.5, 2.0].into_iter()), 3.5);
    }
}
