//! The core's errors as JavaScript errors: `code` is the stable code, `message` the whole text. Hints are the facade's.

use napi::{Env, Error, JsError};

/// An error that is thrown where it is returned: `Error<String>` is what sets `code` to its status.
pub type Thrown = Error<String>;
/// A synchronous call's result.
pub type Result<T> = std::result::Result<T, Thrown>;

/// The error of the core, to be thrown.
pub fn thrown(error: dirtyrate::Error) -> Thrown {
    Error::new(error.code().to_owned(), error)
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
