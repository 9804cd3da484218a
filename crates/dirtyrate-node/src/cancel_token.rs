//! `CancelToken`.

use napi_derive::napi;

/// Cancels the calls that got this token: they reject with ERR_CANCELLED within milliseconds.
#[napi]
#[derive(Default)]
pub struct CancelToken(dirtyrate::CancelToken);

#[napi]
impl CancelToken {
    /// A token that is not cancelled.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the calls. A token stays cancelled.
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// The token behind an optional argument, or a new token that is never cancelled.
pub fn token(argument: Option<&CancelToken>) -> dirtyrate::CancelToken {
    argument.map_or_else(Default::default, |token| token.0.clone())
}
