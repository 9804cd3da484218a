//! Runs work that takes time, and returns a promise.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use dirtyrate::threads;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsDeferred};

use crate::errors::{self, Result};

/// Runs `work` on a thread of its own and settles a promise with what it returns. libuv's pool is not used, because its
/// four threads also serve the file system and DNS, and a measurement may take an hour.
///
/// The pending promise keeps the process alive; nothing else here does.
pub fn run<T>(env: Env, work: impl FnOnce() -> dirtyrate::Result<T> + Send + 'static) -> Result<Object<'static>>
where
    T: ToNapiValue + Send + 'static,
{
    run_or(WithoutThread::Reject, env, work, |_, _| ())
}

/// Does what [`run`] does, for work that frees something. If there can be no more threads, the work is done at once,
/// and JavaScript waits for it.
pub fn run_surely<T>(env: Env, work: impl FnOnce() -> dirtyrate::Result<T> + Send + 'static) -> Result<Object<'static>>
where
    T: ToNapiValue + Send + 'static,
{
    run_or(WithoutThread::RunHere, env, work, |_, _| ())
}

/// Does what [`run`] does. `then` is called with the result of `work`, on the JavaScript thread, before the promise
/// settles.
pub fn run_then<T>(
    env: Env,
    work: impl FnOnce() -> dirtyrate::Result<T> + Send + 'static,
    then: impl FnOnce(&Env, &T) + Send + 'static,
) -> Result<Object<'static>>
where
    T: ToNapiValue + Send + 'static,
{
    run_or(WithoutThread::Reject, env, work, then)
}

/// What happens to a call if there can be no more threads.
#[derive(Clone, Copy)]
enum WithoutThread {
    Reject,
    RunHere,
}

fn run_or<T, W>(
    otherwise: WithoutThread,
    env: Env,
    work: W,
    then: impl FnOnce(&Env, &T) + Send + 'static,
) -> Result<Object<'static>>
where
    T: ToNapiValue + Send + 'static,
    W: FnOnce() -> dirtyrate::Result<T> + Send + 'static,
{
    let (deferred, promise) = env.create_deferred().map_err(|error| errors::internal(&error.reason))?;
    let promise = Object::from_raw(env.raw(), napi::JsValue::raw(&promise));
    // This is shared with the thread, so that the promise can be rejected if the thread cannot be started. A deferred
    // that is only dropped would keep the process alive for ever.
    let settle = Arc::new(Settle(Mutex::new(Some((deferred, then)))));
    let settler = Arc::clone(&settle);
    let call = move |work: W| {
        let outcome = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome.map_err(errors::thrown),
            Err(_) => Err(errors::internal("a native call panicked")),
        };
        settler.with(outcome);
    };
    let job = Arc::new(Mutex::new(Some((call, work))));
    let jobs = Arc::clone(&job);
    let take = |job: &Mutex<Option<_>>| job.lock().unwrap_or_else(PoisonError::into_inner).take();
    let spawned = threads::spawn("dirtyrate-call", move || {
        if let Some((call, work)) = take(&jobs) {
            call(work);
        }
    });
    // This happens only if the thread was not started. Otherwise the thread has taken the job.
    if let Err(error) = spawned
        && let Some((call, work)) = take(&job)
    {
        match otherwise {
            WithoutThread::RunHere => call(work),
            WithoutThread::Reject => settle.with(Err(errors::thrown(error))),
        }
    }
    Ok(promise)
}

type Unsettled<T, F> = Option<(JsDeferred<T, Resolver<T>>, F)>;
type Resolver<T> = Box<dyn FnOnce(Env) -> napi::Result<T> + Send>;

/// A promise that is not settled yet, and the function that gets its value first.
struct Settle<T: ToNapiValue, F>(Mutex<Unsettled<T, F>>);

impl<T, F> Settle<T, F>
where
    T: ToNapiValue + Send + 'static,
    F: FnOnce(&Env, &T) + Send + 'static,
{
    fn with(&self, outcome: Result<T>) {
        if let Some((deferred, then)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            deferred.resolve(Box::new(move |env| {
                let done = outcome.map_err(|error| errors::rejected(env, error))?;
                then(&env, &done);
                Ok(done)
            }));
        }
    }
}
