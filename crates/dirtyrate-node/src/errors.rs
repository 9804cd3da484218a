//! Turns the core's errors into JavaScript errors. `code` is the stable code, and `message` the whole text. Details for
//! programs are JSON in the message of the error's `cause`, because N-API offers no other place for them. The
//! TypeScript facade adds the hints.

use napi::{Env, Error, JsError};

use crate::error_codes::{Detail, code, details};

/// An error that a synchronous call throws. `Error<String>` sets `code` to its status.
pub type Thrown = Error<String>;
/// A synchronous call's result.
pub type Result<T> = std::result::Result<T, Thrown>;

/// Makes an error to be thrown from an error of the core.
pub fn thrown(error: dirtyrate::Error) -> Thrown {
    let details: serde_json::Map<_, _> =
        details(&error).into_iter().map(|(name, fact)| (name.to_owned(), json(fact))).collect();
    let mut thrown = Error::new(code(&error).to_owned(), error);
    if !details.is_empty() {
        thrown.set_cause(Error::from_reason(serde_json::Value::from(details).to_string()));
    }
    thrown
}

fn json(detail: Detail) -> serde_json::Value {
    match detail {
        Detail::Number(number) => number.into(),
        Detail::Text(text) => text.into(),
    }
}

/// The error for something that must not happen.
pub fn internal(message: &str) -> Thrown {
    Error::new("ERR_INTERNAL".to_owned(), message.to_owned())
}

/// Makes an error to reject a promise with. Call this on the JavaScript thread.
pub fn rejected(env: Env, error: Thrown) -> Error {
    // The promise is rejected with the value in this error, which has `code` too.
    Error::from(JsError::from(error).into_unknown(env))
}
