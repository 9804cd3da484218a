//! The examples that need no kernel print what their first comment says. The examples that are a VMM have their own
//! tests.

#[path = "../examples/dirty_memory.rs"]
mod dirty_memory;
#[path = "../examples/page_bitmap.rs"]
mod page_bitmap;
#[path = "../examples/sampling.rs"]
mod sampling;

/// What stands in the comment behind the command that runs the example.
fn shown(source: &str) -> Vec<&str> {
    let comment = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    comment.skip_while(|line| !line.starts_with("$ cargo run")).skip(1).take_while(|line| *line != "```").collect()
}

#[test]
fn a_page_bitmap() {
    assert_eq!(page_bitmap::run().expect("memory"), shown(include_str!("../examples/page_bitmap.rs")));
}

#[test]
fn dirty_memory_over_a_log() {
    assert_eq!(dirty_memory::run().expect("a log"), shown(include_str!("../examples/dirty_memory.rs")));
}

#[test]
fn page_sampling() {
    assert_eq!(sampling::run().expect("a memory"), shown(include_str!("../examples/sampling.rs")));
}
