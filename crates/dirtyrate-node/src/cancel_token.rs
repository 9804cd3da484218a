//! `CancelToken`.

use napi_derive::napi;

/// Cancels the calls that were given it: they reject with ERR_CANCELLED within milliseconds.
#[napi]
#[derive(Default)]
pub struct CancelToken(dirtyrate::CancelToken);

#[napi]
impl CancelToken {
    /// A token that nobody cancelled yet.
    #[napi(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels, finally.
    #[napi]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// The token behind an optional argument; without one, nobody cancels.
pub fn token(argument: Option<&CancelToken>) -> dirtyrate::CancelToken {
    argument.map_or_else(Default::default, |token| token.0.clone())
}
