//! The core's errors as JavaScript errors: `code` is the stable code, `message` the whole text. Where the core has details for programs,
//! they are JSON in the message of the error's `cause`, which is the one place that N-API gives them. Hints are the facade's.

use napi::{Env, Error, JsError};

use crate::error_codes::{Detail, code, details};

/// An error that is thrown where it is returned: `Error<String>` is what sets `code` to its status.
pub type Thrown = Error<String>;
/// A synchronous call's result.
pub type Result<T> = std::result::Result<T, Thrown>;

/// The error of the core, to be thrown.
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

/// What must not happen.
pub fn internal(message: &str) -> Thrown {
    Error::new("ERR_INTERNAL".to_owned(), message.to_owned())
}

/// An error to reject a promise with; called on the JavaScript thread.
pub fn rejected(env: Env, error: Thrown) -> Error {
    // A promise is rejected with the value that the error keeps, `code` included.
    Error::from(JsError::from(error).into_unknown(env))
}
