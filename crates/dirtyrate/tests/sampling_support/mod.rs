//! What the tests of page sampling share: exact binomial sums, and a listener to its trace events.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use dirtyrate::sampling::IntervalMethod;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// P(Binomial(n, p) = k) for each k.
pub fn binomial(n: u64, p: f64) -> Vec<f64> {
    if p <= 0.0 || p >= 1.0 {
        return (0..=n).map(|k| f64::from(u8::from(k == if p <= 0.0 { 0 } else { n }))).collect();
    }
    let mut log = n as f64 * (-p).ln_1p();
    let mut mass = Vec::new();
    for k in 0..=n {
        mass.push(log.exp());
        log += ((n - k) as f64 / (k + 1) as f64).ln() + (p / (1.0 - p)).ln();
    }
    mass
}

/// P(Binomial(n, p) ≤ k).
pub fn at_most(k: u64, n: u64, p: f64) -> f64 {
    binomial(n, p)[..=k as usize].iter().sum()
}

/// The confidence of the intervals that [`covered`] is about.
pub const CONFIDENCE: f64 = 0.95;
/// What a standard normal variable exceeds with probability (1 − 0.95) / 2, from the tables.
const Z: f64 = 1.959_963_984_540_054;

/// The share of binomial samples of `n` whose 95 % interval holds `p`, by the definition of the method and not by the
/// code under test.
pub fn covered(method: IntervalMethod, n: u64, p: f64) -> f64 {
    let mass = binomial(n, p);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let (mut below, mut covered) = (0.0, 0.0);
    for (k, here) in mass.iter().enumerate() {
        let holds = match method {
            // Wilson: the score test of p is not rejected.
            IntervalMethod::Wilson => (k as f64 / n as f64 - p).powi(2) <= Z * Z * p * (1.0 - p) / n as f64,
            // Clopper–Pearson: neither so few nor so many hits are rarer than a tail.
            IntervalMethod::ClopperPearson => below + here >= tail && 1.0 - below >= tail,
            other => panic!("{other:?} is not defined here"),
        };
        below += here;
        covered += if holds { *here } else { 0.0 };
    }
    covered.min(1.0)
}

/// One of QEMU's trace events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    pub name: String,
    pub fields: BTreeMap<&'static str, String>,
}

impl Traced {
    pub fn number(&self, field: &str) -> u64 {
        self.fields[field].parse().expect("a number")
    }
}

/// Runs once, as it is the listener's.
pub type Action = Box<dyn FnOnce() + Send>;

/// Keeps the trace events of the thread whose default it is, and runs an action at one of them. Those of a first look
/// come when the whole pass is over, and before anything else happens: so this is how a test acts within a window,
/// without a clock.
pub struct Listener {
    heard: Mutex<Vec<Traced>>,
    action: Mutex<Option<(usize, Action)>>,
}

impl Listener {
    /// Runs `action` at event number `at`, from 1 on.
    pub fn new(at: usize, action: Action) -> Self {
        Self { heard: Mutex::default(), action: Mutex::new(Some((at, action))) }
    }

    pub fn heard(&self) -> Vec<Traced> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "dirtyrate::qemu"
    }

    fn event(&self, event: &Event<'_>) {
        let mut traced = Traced { name: String::new(), fields: BTreeMap::new() };
        event.record(&mut traced);
        let heard = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.push(traced);
            heard.len()
        };
        let due = self.action.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(at, _)| *at == heard);
        if let Some((_, action)) = due {
            action();
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Traced {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.name = text;
        } else {
            self.fields.insert(field.name(), text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}
