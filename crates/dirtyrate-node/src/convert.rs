//! Converts words, numbers and durations between JavaScript and Rust.

use std::str::FromStr;
use std::time::Duration;

use dirtyrate::Error;

use crate::errors::{Result, thrown};

/// The largest whole number up to which JavaScript numbers are exact.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// A word from JavaScript, if one was given. Words are taken as strings, and not as a `string_enum`, because the error
/// of a `string_enum` has one of N-API's codes, and does not list the words.
pub fn word<T: FromStr<Err = Error>>(word: Option<&str>) -> Result<Option<T>> {
    word.map(str::parse).transpose().map_err(thrown)
}

/// A whole number from JavaScript, from 0 to 2^53 - 1.
pub fn whole(name: &str, value: f64) -> Result<u64> {
    if value.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER).contains(&value) {
        return Ok(value as u64);
    }
    Err(thrown(Error::Argument(format!("{name} is {value}: give a whole number from 0 to 2^53 - 1"))))
}

/// A whole number of milliseconds or a fraction of one, from JavaScript.
pub fn milliseconds(name: &str, value: f64) -> Result<Duration> {
    // A year, which is far longer than any window, and far below the limits of a duration and of an instant.
    const LONGEST: f64 = 366.0 * 24.0 * 3600.0 * 1000.0;
    if (0.0..=LONGEST).contains(&value) {
        return Ok(Duration::from_secs_f64(value / 1000.0));
    }
    Err(thrown(Error::Argument(format!("{name} is {value} ms: give 0 to {LONGEST} ms"))))
}

/// Nanoseconds for JavaScript.
pub fn nanoseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}

/// Deadlines from JavaScript, which must be ascending.
pub fn deadlines(milliseconds_each: &[f64]) -> Result<Vec<Duration>> {
    let deadlines: Vec<_> =
        milliseconds_each.iter().map(|&deadline| milliseconds("deadline", deadline)).collect::<Result<_>>()?;
    if !deadlines.is_sorted() {
        return Err(thrown(Error::Argument("deadlines must ascend".to_owned())));
    }
    Ok(deadlines)
}
