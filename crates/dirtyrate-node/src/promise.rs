//! Work that takes time, as a promise.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dirtyrate::Error;
use napi::Env;
use napi::bindgen_prelude::{Object, ToNapiValue};

use crate::errors::{self, Result};

/// Runs `work` on a thread of its own and settles a promise with what it returns. Not on libuv's pool: its four threads
/// serve the file system and DNS too, and a measurement may wait for an hour.
///
/// The pending promise keeps the process alive; nothing else here does.
pub fn run<T>(env: Env, work: impl FnOnce() -> dirtyrate::Result<T> + Send + 'static) -> Result<Object<'static>>
where
    T: ToNapiValue + Send + 'static,
{
    type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<T> + Send>;
    let (deferred, promise) =
        env.create_deferred::<T, Resolver<T>>().map_err(|error| errors::internal(&error.reason))?;
    let promise = Object::from_raw(env.raw(), napi::JsValue::raw(&promise));
    let spawned = std::thread::Builder::new().name("dirtyrate-call".to_owned()).spawn(move || {
        let outcome = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome.map_err(errors::thrown),
            Err(_) => Err(errors::internal("a native call panicked")),
        };
        deferred.resolve(Box::new(move |env| outcome.map_err(|error| errors::rejected(env, error))));
    });
    spawned.map_err(|source| {
        errors::thrown(Error::Ioctl { call: "pthread_create", context: "a native call".to_owned(), source })
    })?;
    Ok(promise)
}
