//! The core's `tracing` events, for JavaScript: they queue here, in order, and JavaScript takes them.
//!
//! Each listener has a queue of its own: another copy of the package, or a worker of Node's, takes no event from the first one.
//!
//! A queue of bytes, not of calls: a burst (page sampling tells of every page that it looks at) is one wake-up, and what is queued can be
//! taken at any time, so that the events of a call come before what JavaScript has to say of its result. When the queue is full, a
//! thread that may wait does; a vCPU, or whoever holds a lock, never does: its events are counted, and one event says how many they were.

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
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

use crate::errors::{Result, internal, thrown};

/// What waits for JavaScript at most: some 50,000 events about pages.
const MOST_BYTES: usize = 16 << 20;
/// How long a thread that may wait does so while nobody takes anything. A listener that has stopped listening must not hold a
/// measurement up for good.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many events JavaScript gets at a time.
const BATCH: usize = 1024;

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

/// There is one wake-up under way at most: whoever is woken takes all there is.
type Wake = ThreadsafeFunction<(), (), (), Status, false, true, 1>;

/// One listener, and what waits for it.
struct Sink {
    id: u32,
    level: LevelFilter,
    wake: Wake,
    queue: VecDeque<Entry>,
    bytes: usize,
    /// Events since the last one that is in the queue.
    dropped: u64,
    /// Nobody has taken anything for as long as [`PATIENCE`].
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

/// Runs `work`, whose events wait for room in the queue instead of being dropped. Only for a thread that nobody waits for with a lock
/// in hand, and that holds none itself.
pub fn patiently<T>(work: impl FnOnce() -> T) -> T {
    let before = MAY_WAIT.replace(true);
    let done = work();
    MAY_WAIT.set(before);
    done
}

/// Has `wake` called when events of this level and above have come, which `takeLog` then gives to the listener with the number that this
/// returns. Each listener hears every event. Never keeps the process alive; a listener whose environment has ended is gone.
#[napi(ts_args_type = "level: 'error' | 'warn' | 'info' | 'debug' | 'trace', wake: () => void")]
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
        // The only subscriber in this library; it fails if another part of the process has set one for the same statics.
        let _ = tracing::subscriber::set_global_default(Registry::default().with(Forward));
    });
    let id = LAST_ID.fetch_add(1, Ordering::Relaxed);
    lock().push(Sink { id, level, wake, queue: VecDeque::new(), bytes: 0, dropped: 0, stalled: false });
    tracing::callsite::rebuild_interest_cache();
    Ok(id)
}

/// Ends the listener with this number; the others go on.
#[napi]
pub fn remove_log(id: u32) {
    let removed: Vec<_> = lock().extract_if(.., |sink| sink.id == id).collect();
    // Not under the lock: the end of a thread-safe function is N-API's.
    drop(removed);
    TAKEN.notify_all();
    tracing::callsite::rebuild_interest_cache();
}

/// The next events of the listener with this number, oldest first; none when it has taken all, or has ended.
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

    /// Queues an event, or counts it as dropped where this thread may not wait for room; false if it has to be offered again.
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

    /// Says that events are missing here, if any are.
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
            // It fails where a wake-up is under way, which takes this event too.
            self.wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

impl Entry {
    /// What it takes in the queue.
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
                level: metadata.level().as_str().to_ascii_lowercase(),
                target: metadata.target().to_owned(),
                message: fields.message.clone(),
                fields: fields.others.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            },
            Entry::Dropped(events) => Self {
                level: "warn".to_owned(),
                target: module_path!().to_owned(),
                message: "events dropped".to_owned(),
                fields: HashMap::from([("events".to_owned(), events.to_string())]),
            },
        }
    }
}

/// Hands events over.
struct Forward;

impl<S: Subscriber> Layer<S> for Forward {
    // What nobody wants costs a look at a static: whoever emits does not even make it.
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
        // The listeners that have room get it first: none of them waits because another does not listen.
        let mut waiting = Vec::new();
        let mut gone = Vec::new();
        for at in (0..sinks.len()).rev() {
            // A worker of Node's that listened may have ended.
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

/// Gives an event to a listener whose queue is full, once there is room; a listener that takes nothing for [`PATIENCE`] misses it.
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
