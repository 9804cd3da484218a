//! What the benchmarks share: the machine's name, medians, and a target as a line.

#![allow(dead_code, reason = "each benchmark uses its part of it")]

/// The processor, in one line: a figure means nothing without it. `benches/cpu.mjs` says the same.
pub fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let field = text.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.trim() == key);
        field.map_or("?", |(_, value)| value.trim())
    };
    let model = ["cpu family", "model", "stepping"].map(value).join("/");
    let (name, vendor) = (value("model name"), value("vendor_id"));
    format!("{name}, {vendor}, family/model/stepping {model}, L2 {}, L3 {}", cache(2), cache(3))
}

/// The size of the first processor's cache of that level, as the kernel says it: `2048K`.
fn cache(level: u32) -> String {
    let read = |index: u32, file: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{file}");
        std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok()
    };
    let index = (0..8).find(|&index| read(index, "level") == Some(level.to_string()));
    index.and_then(|index| read(index, "size")).unwrap_or_else(|| "unknown".to_owned())
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
    /// It is stated for comparison, and is neither met nor missed.
    Stated,
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
        let (bound, target, met) = match self.goal {
            Goal::AtLeast(target) => ("at least", Some(target), Some(ratio >= target)),
            Goal::AtMost(target) => ("at most", Some(target), Some(ratio <= target)),
            Goal::Stated => ("", None, None),
        };
        if json {
            let or_null = |value: Option<String>| value.unwrap_or_else(|| "null".to_owned());
            let (target, met) =
                (or_null(target.map(|target| target.to_string())), or_null(met.map(|met| met.to_string())));
            println!(
                r#"{{"name":"{name}","ours":{ours:.3},"reference":{reference:.3},"unit":"{unit}","ratio":{ratio},"target":{target},"met":{met}}}"#
            );
        } else {
            let verdict = match (target, met) {
                (Some(target), Some(met)) => format!("{bound} {target}: {}", if met { "met" } else { "missed" }),
                _ => "no target".to_owned(),
            };
            println!("{ratio:8.2}, {verdict:20}  {name} ({ours:.1}, {reference:.1} {unit})");
        }
    }
}

/// Whether the benchmark was asked for this.
pub fn asked_for(option: &str) -> bool {
    std::env::args().any(|argument| argument == option)
}
