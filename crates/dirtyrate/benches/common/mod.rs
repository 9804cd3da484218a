//! What the benchmarks share: the machine's name, medians, and a target as a line.

#![allow(dead_code, reason = "each benchmark uses its part of it")]

/// The processor, in one line.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| text.lines().find(|line| line.starts_with(key)).and_then(|line| line.split(": ").nth(1));
    let model = ["cpu family", "model\t", "stepping"].map(|key| value(key).unwrap_or("?")).join("/");
    format!("{}, family/model/stepping {model}", value("model name").unwrap_or("an unnamed processor"))
}

/// The one in the middle; of an even number, the upper of the two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What a ratio is to be.
#[derive(Clone, Copy)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Ours beside a reference of the same run.
pub struct Target {
    pub name: String,
    pub ours: f64,
    pub reference: f64,
    pub unit: &'static str,
    pub ratio: f64,
    pub goal: Goal,
}

impl Target {
    /// A line: JSON, or for people.
    pub fn print(&self, json: bool) {
        let Self { name, ours, reference, unit, .. } = self;
        // To two digits, like the targets: below that is what one run differs by from the next.
        let ratio = (self.ratio * 100.0).round() / 100.0;
        let (target, met, bound) = match self.goal {
            Goal::AtLeast(target) => (target, ratio >= target, "at least"),
            Goal::AtMost(target) => (target, ratio <= target, "at most"),
        };
        if json {
            println!(
                r#"{{"name":"{name}","ours":{ours:.3},"reference":{reference:.3},"unit":"{unit}","ratio":{ratio},"target":{target},"met":{met}}}"#
            );
        } else {
            let verdict = if met { "met" } else { "missed" };
            println!("{ratio:8.2}, {bound} {target}: {verdict:6}  {name} ({ours:.1}, {reference:.1} {unit})");
        }
    }
}

/// Whether the benchmark was asked for this.
pub fn asked_for(option: &str) -> bool {
    std::env::args().any(|argument| argument == option)
}
