//! Passes the core's `tracing` events to JavaScript. They are queued here, in their order, and JavaScript takes them.
//!
//! Each listener has its own queue, so that another copy of the package, or a worker of Node, takes no events from it.
//!
//! Events are queued as data, and not as calls of JavaScript. So a burst of events is one wake-up (page sampling emits
//! an event for every page that it looks at). And queued events can be taken at any time, so that the events of a call
//! are delivered before its result. When the queue is full, a thread that may wait waits. A vCPU, or a thread that
//! holds a lock, never waits: its events are dropped and counted, and one event says how many were dropped.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use dirtyrate::Error;
use napi::Status;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi_derive::napi;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::errors::{Result, internal, thrown};

/// How many bytes of events may wait for JavaScript: about 50,000 events about pages.
const MOST_BYTES: usize = 16 << 20;
/// How long a thread waits at most while JavaScript takes no events, so that a listener that does not listen any more
/// cannot block a measurement for ever.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many events JavaScript gets at a time.
const BATCH: usize = 1024;

/// How much an event matters.
#[napi(string_enum = "lowercase")]
pub enum NativeLogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for NativeLogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }
}

/// One event.
#[napi(object)]
pub struct NativeLogEvent {
    pub level: NativeLogLevel,
    /// The module from which the event comes.
    pub target: String,
    pub message: String,
    pub fields: HashMap<String, String>,
}

/// At most one wake-up is under way, because JavaScript takes all events when it is woken.
type Wake = ThreadsafeFunction<(), (), (), Status, false, true, 1>;

/// One listener, and its queued events.
struct Sink {
    id: u32,
    level: LevelFilter,
    wake: Wake,
    queue: VecDeque<Entry>,
    bytes: usize,
    /// How many events were dropped since the last queued one.
    dropped: u64,
    /// Whether the listener has taken no event for [`PATIENCE`].
    stalled: bool,
}

#[derive(Clone)]
enum Entry {
    Event(&'static Metadata<'static>, Arc<Fields>),
    Dropped(u64),
}

static SINKS: Mutex<Vec<Sink>> = Mutex::new(Vec::new());
static TAKEN: Condvar = Condvar::new();

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`. Its events wait for room in the queue, instead of being dropped. The calling thread must not hold a
/// lock, and no thread that holds a lock may wait for it.
pub fn patiently<T>(work: impl FnOnce() -> T) -> T {
    let before = MAY_WAIT.replace(true);
    let done = work();
    MAY_WAIT.set(before);
    done
}

/// Adds a listener, and returns its number. `wake` is called when there are events of this level and above, and
/// `takeLog` returns them. Each listener gets every event. A listener does not keep the process alive, and is removed
/// when its environment ends.
#[napi(ts_args_type = "level: NativeLogLevel, wake: () => void")]
pub fn add_log(level: String, wake: Function<'_, (), ()>) -> Result<u32> {
    static SUBSCRIBE: Once = Once::new();
    static LAST_ID: AtomicU32 = AtomicU32::new(0);
    let level: LevelFilter = level.parse().map_err(|_| {
        let text = format!("no log level '{level}': use error, warn, info, debug or trace");
        thrown(Error::Argument(text))
    })?;
    let wake = wake
        .build_threadsafe_function::<()>()
        .weak::<true>()
        .callee_handled::<false>()
        .max_queue_size::<1>()
        .build()
        .map_err(|error| internal(&error.reason))?;
    SUBSCRIBE.call_once(|| {
        // This is the only subscriber in this library. Setting it fails if another part of the process has set one
        // already.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(Forward));
    });
    let id = LAST_ID.fetch_add(1, Ordering::Relaxed);
    lock().push(Sink { id, level, wake, queue: VecDeque::new(), bytes: 0, dropped: 0, stalled: false });
    tracing::callsite::rebuild_interest_cache();
    Ok(id)
}

/// Removes the listener with this number. The other listeners go on.
#[napi]
pub fn remove_log(id: u32) {
    let removed: Vec<_> = lock().extract_if(.., |sink| sink.id == id).collect();
    // This is dropped without the lock, because the end of a thread-safe function runs code of N-API.
    drop(removed);
    TAKEN.notify_all();
    tracing::callsite::rebuild_interest_cache();
}

/// The next events of the listener with this number, oldest first; none if it has taken all of them, or was removed.
#[napi]
pub fn take_log(id: u32) -> Vec<NativeLogEvent> {
    let mut sinks = lock();
    let Some(sink) = sinks.iter_mut().find(|sink| sink.id == id) else { return Vec::new() };
    let mut entries: Vec<_> = sink.queue.drain(..sink.queue.len().min(BATCH)).collect();
    if sink.queue.is_empty() {
        entries.extend(sink.notice());
    }
    sink.bytes -= entries.iter().map(Entry::bytes).sum::<usize>();
    sink.stalled = false;
    drop(sinks);
    TAKEN.notify_all();
    entries.into_iter().map(NativeLogEvent::from).collect()
}

fn lock() -> MutexGuard<'static, Vec<Sink>> {
    SINKS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink {
    fn has_room(&self, bytes: usize) -> bool {
        self.queue.is_empty() || self.bytes + bytes <= MOST_BYTES
    }

    /// Queues an event. If there is no room, counts it as dropped if this thread may not wait, and otherwise returns
    /// false, so that the caller offers it again.
    fn offer(&mut self, entry: &Entry) -> bool {
        if self.has_room(entry.bytes()) {
            self.push(entry.clone());
        } else if self.stalled || !MAY_WAIT.get() {
            self.dropped += 1;
        } else {
            return false;
        }
        true
    }

    /// The event that says that events were dropped here; `None` if none were.
    fn notice(&mut self) -> Option<Entry> {
        let notice = (self.dropped > 0).then_some(Entry::Dropped(self.dropped))?;
        self.dropped = 0;
        self.bytes += notice.bytes();
        Some(notice)
    }

    fn push(&mut self, entry: Entry) {
        let was_empty = self.queue.is_empty();
        let notice = self.notice();
        self.queue.extend(notice);
        self.bytes += entry.bytes();
        self.queue.push_back(entry);
        if was_empty {
            // This fails if a wake-up is under way already, which will take this event too.
            self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Entry {
    /// How many bytes the event takes in the queue.
    fn bytes(&self) -> usize {
        let fields = match self {
            Self::Event(_, fields) => {
                fields.message.capacity()
                    + fields.others.capacity() * size_of::<(&str, String)>()
                    + fields.others.iter().map(|(_, value)| value.capacity()).sum::<usize>()
            }
            Self::Dropped(_) => 0,
        };
        size_of::<Self>() + fields
    }
}

impl From<Entry> for NativeLogEvent {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Event(metadata, fields) => Self {
                level: (*metadata.level()).into(),
                target: metadata.target().to_owned(),
                message: fields.message.clone(),
                fields: fields.others.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            },
            Entry::Dropped(events) => Self {
                level: NativeLogLevel::Warn,
                target: module_path!().to_owned(),
                message: "events dropped".to_owned(),
                fields: HashMap::from([("events".to_owned(), events.to_string())]),
            },
        }
    }
}

/// The subscriber, which passes events to the listeners.
struct Forward;

impl<S: Subscriber> Layer<S> for Forward {
    // If no listener wants an event, emitting it costs only a look at a static variable, and the event is not made.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if *metadata.level() <= level() { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(level())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let entry = Entry::Event(metadata, Arc::new(fields));
        let mut sinks = lock();
        // The listeners that have room get the event first, so that none of them waits for a listener that does not
        // listen.
        let mut waiting = Vec::new();
        let mut gone = Vec::new();
        for at in (0..sinks.len()).rev() {
            // The listener may belong to a worker of Node that has ended.
            if sinks[at].wake.aborted() {
                gone.push(sinks.remove(at));
            } else if *metadata.level() <= sinks[at].level && !sinks[at].offer(&entry) {
                waiting.push(sinks[at].id);
            }
        }
        for id in waiting {
            sinks = wait_for_room(sinks, id, &entry);
        }
        drop(sinks);
        drop(gone);
    }
}

/// Waits for room in a listener's full queue, and gives it the event. If the listener takes nothing for [`PATIENCE`],
/// the event is dropped.
fn wait_for_room(mut sinks: MutexGuard<'static, Vec<Sink>>, id: u32, entry: &Entry) -> MutexGuard<'static, Vec<Sink>> {
    loop {
        let Some(sink) = sinks.iter_mut().find(|sink| sink.id == id) else { return sinks };
        if sink.wake.aborted() || sink.offer(entry) {
            return sinks;
        }
        let (taken, timeout) = TAKEN.wait_timeout(sinks, PATIENCE).unwrap_or_else(PoisonError::into_inner);
        sinks = taken;
        if let Some(sink) = sinks.iter_mut().find(|sink| timeout.timed_out() && sink.id == id) {
            sink.stalled = true;
        }
    }
}

fn level() -> LevelFilter {
    lock().iter().map(|sink| sink.level).max().unwrap_or(LevelFilter::OFF)
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.message, "{value:?}");
        } else {
            self.others.push((field.name(), format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
