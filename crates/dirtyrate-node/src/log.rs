//! The core's `tracing` events, for JavaScript.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use dirtyrate::Error;
use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::errors::{Result, internal, thrown};

/// Events that wait for JavaScript. More are dropped: a log must not grow without end, or hold a guest up.
const QUEUE: usize = 1024;

/// One event.
#[napi(object)]
pub struct NativeLogEvent {
    #[napi(ts_type = "'error' | 'warn' | 'info' | 'debug' | 'trace'")]
    pub level: String,
    /// The module it comes from.
    pub target: String,
    pub message: String,
    pub fields: HashMap<String, String>,
}

type Callback = ThreadsafeFunction<NativeLogEvent, (), NativeLogEvent, Status, false, true, QUEUE>;

static SINK: Mutex<Option<(LevelFilter, Callback)>> = Mutex::new(None);

/// Sends the core's events of this level and above to `callback`, or to nobody. Never keeps the process alive.
#[napi(
    ts_args_type = "level: 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'off', callback: ((event: NativeLogEvent) => void) | null"
)]
pub fn set_log(level: String, callback: Option<Function<'_, NativeLogEvent, ()>>) -> Result<()> {
    static SUBSCRIBE: Once = Once::new();
    let level: LevelFilter = level.parse().map_err(|_| {
        let text = format!("no log level '{level}': use error, warn, info, debug, trace or off");
        thrown(Error::Argument(text))
    })?;
    let callback = callback
        .map(|callback| {
            callback
                .build_threadsafe_function::<NativeLogEvent>()
                .weak::<true>()
                .callee_handled::<false>()
                .max_queue_size::<QUEUE>()
                .build()
        })
        .transpose()
        .map_err(|error| internal(&error.reason))?;
    SUBSCRIBE.call_once(|| {
        // The only subscriber in this library; it fails if another part of the process has set one for the same statics.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(Forward));
    });
    *SINK.lock().unwrap_or_else(PoisonError::into_inner) = callback.map(|callback| (level, callback));
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// Hands events over.
struct Forward;

impl<S: Subscriber> Layer<S> for Forward {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, callback)) = sink.as_ref().filter(|(level, _)| metadata.level() <= level) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let event = NativeLogEvent {
            level: metadata.level().as_str().to_ascii_lowercase(),
            target: metadata.target().to_owned(),
            message: fields.message,
            fields: fields.others,
        };
        // A full queue drops the event.
        callback.call(event, ThreadsafeFunctionCallMode::NonBlocking);
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: HashMap<String, String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others.insert(field.name().to_owned(), format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
