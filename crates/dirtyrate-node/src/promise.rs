//! Work that takes time, as a promise.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use dirtyrate::Error;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsDeferred};

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
    // Shared with the thread, so that a promise whose thread cannot be started is rejected: a deferred that is only dropped
    // keeps the process alive for ever.
    let settle = Arc::new(Mutex::new(Some(deferred)));
    let settler = Arc::clone(&settle);
    let settle_with = |settler: &Mutex<Option<JsDeferred<T, Resolver<T>>>>, outcome: Result<T>| {
        if let Some(deferred) = settler.lock().unwrap_or_else(PoisonError::into_inner).take() {
            deferred.resolve(Box::new(move |env| outcome.map_err(|error| errors::rejected(env, error))));
        }
    };
    let spawned = std::thread::Builder::new().name("dirtyrate-call".to_owned()).spawn(move || {
        let outcome = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome.map_err(errors::thrown),
            Err(_) => Err(errors::internal("a native call panicked")),
        };
        settle_with(&settler, outcome);
    });
    if let Err(source) = spawned {
        let error = Error::Ioctl { call: "pthread_create", context: "a native call".to_owned(), source };
        settle_with(&settle, Err(errors::thrown(error)));
    }
    Ok(promise)
}
