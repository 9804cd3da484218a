//! The names of choices, as the API, the command line and the reports spell them: how one is read, and what is said of
//! a wrong one.

use crate::error::{Error, Result};

/// The one of `all` that is called `name`.
///
/// # Errors
///
/// [`Error::Argument`], which says `what` was to be chosen and lists the names that there are.
pub fn find<T: Copy>(what: &str, name: &str, all: &[T], name_of: fn(T) -> &'static str) -> Result<T> {
    let found = all.iter().copied().find(|choice| name_of(*choice) == name);
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|choice| name_of(*choice)).collect();
        Error::Argument(format!("no {what} '{name}': use {}", one_of(&names)))
    })
}

/// `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_answered_by_the_right_ones() {
        let name_of = |choice: u8| ["one", "two", "three"][usize::from(choice)];
        for choice in 0..3 {
            assert_eq!(find("number", name_of(choice), &[0, 1, 2], name_of).expect("a name"), choice);
        }
        for (all, text) in [(&[0][..], "one"), (&[0, 1], "one or two"), (&[0, 1, 2], "one, two or three")] {
            let error = find("number", "Two", all, name_of).expect_err("no name");
            assert!(matches!(&error, Error::Argument(_)), "{error:?}");
            assert_eq!(error.to_string(), format!("no number 'Two': use {text}"));
        }
    }
}
