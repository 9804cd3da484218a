//! The oracle of what comes out of the compressor is the program `zstd`, which decompresses it to the pages that went
//! in, and compresses the same pages by itself.

use std::io::Write;
use std::process::{Command, Stdio};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::*;
use crate::sampling::PageBlock;

const PAGE: usize = 4096;

/// A memory of one block whose pages are known.
struct Known {
    block: [PageBlock; 1],
    pages: Vec<Option<Vec<u8>>>,
}

impl Known {
    fn new(pages: Vec<Option<Vec<u8>>>) -> Self {
        let block = PageBlock { name: "ram".to_owned(), guest_address: 0, pages: pages.len() as u64 };
        Self { block: [block], pages }
    }
}

impl PageReader for Known {
    fn page_size(&self) -> u64 {
        PAGE as u64
    }

    fn blocks(&self) -> &[PageBlock] {
        &self.block
    }

    fn read(&mut self, _: usize, looks: &[Look], visit: &mut dyn FnMut(usize, Contents<'_>)) -> Result<()> {
        for (place, look) in looks.iter().enumerate() {
            match &self.pages[look.page as usize] {
                Some(page) => visit(place, Contents::Bytes(page)),
                None => visit(place, Contents::Untouched),
            }
        }
        Ok(())
    }
}

fn random(rng: &mut impl Rng) -> Vec<u8> {
    let mut page = vec![0; PAGE];
    rng.fill_bytes(&mut page);
    page
}

/// Words in a random order.
fn text(rng: &mut impl Rng) -> Vec<u8> {
    const WORDS: [&str; 8] = ["dirty ", "page ", "of ", "the ", "guest ", "migrates ", "to ", "another host. "];
    let mut page = Vec::new();
    while page.len() < PAGE {
        page.extend(WORDS[(rng.next_u64() % 8) as usize].bytes());
    }
    page.truncate(PAGE);
    page
}

fn zstd(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("zstd")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("zstd runs");
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        let mut output = Vec::new();
        std::io::Read::read_to_end(child.stdout.as_mut().expect("piped"), &mut output).expect("readable");
        child.wait().expect("it ends");
        output
    })
}

fn has_zstd() -> bool {
    Command::new("zstd").arg("--version").stdout(Stdio::null()).status().is_ok()
}

fn measured(pages: Vec<Option<Vec<u8>>>) -> Compressibility {
    let options = PlanOptions::default().with_seed(7);
    compressibility(&mut Known::new(pages), options, &Intervals::default(), &CancelToken::new()).expect("measured")
}

#[test]
fn random_pages_do_not_compress_and_zeros_are_left_out() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let pages = (0..65_536).map(|at| match at % 4 {
        0 => None,
        1 => Some(vec![0; PAGE]),
        _ => Some(random(&mut rng)),
    });
    let found = measured(pages.collect());
    assert!((found.zero_interval.low..=found.zero_interval.high).contains(&0.5), "{found:?}");
    let compressed = found.compressed.expect("there are enough");
    assert_eq!(compressed.pages, 1024);
    // A block of up to 128 KiB that does not compress is stored, with a header of 3 bytes.
    assert!((1.0..1.001).contains(&compressed.ratio), "{compressed:?}");
    assert!(compressed.interval.low <= compressed.ratio && compressed.ratio <= compressed.interval.high);
    assert!(compressed.bytes_per_second > 1e6);
}

#[test]
fn a_memory_of_two_kinds_of_pages_has_the_mean_of_both() {
    // One page in four is text, which is about a fourth as large afterwards; the rest does not compress. The halves of
    // the memory have one kind each, and the interval is narrow all the same.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(2);
    let one = |rng: &mut Xoshiro256PlusPlus, at: usize| if at < 16_384 { text(rng) } else { random(rng) };
    let all = measured((0..65_536).map(|at| Some(one(&mut rng, at))).collect()).compressed.expect("enough");
    let texts = measured((0..65_536).map(|_| Some(text(&mut rng))).collect()).compressed.expect("enough");
    let expected = 0.25 * texts.ratio + 0.75;
    assert!((all.ratio - expected).abs() < 0.02, "{} for {expected}", all.ratio);
    assert!(all.interval.high - all.interval.low < 0.05, "{all:?}");
}

#[test]
fn too_few_pages_have_no_ratio() {
    let mut pages = vec![None; 65_536];
    assert_eq!(measured(pages.clone()).compressed, None);
    assert_eq!(measured(pages.clone()).zero, 1.0);
    pages[77] = Some(vec![1; PAGE]);
    assert_eq!(measured(pages).compressed, None);
}

#[test]
fn the_stream_is_one_of_level_1_that_has_all_pages() {
    if !has_zstd() {
        // The rigs have the library and not the program.
        let is_demanded = std::env::var_os("DIRTYRATE_REQUIRE_KVM").is_some();
        assert!(!is_demanded || std::env::var_os("DIRTYRATE_RIG").is_some(), "install zstd");
        return;
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let pages: Vec<u8> = (0..PACKETS * MOST_PAGES).flat_map(|_| text(&mut rng)).collect();
    let mut written = Vec::new();
    let stream = Stream::new(LEVEL).expect("there is a libzstd");
    let mut visit = |bytes: &[u8]| written.extend_from_slice(bytes);
    let found = compress(stream, &pages, PAGE, 0.95, &CancelToken::new(), &mut visit).expect("good").expect("enough");
    let dealt: Vec<u8> = (0..PACKETS)
        .flat_map(|packet| pages.chunks_exact(PAGE).skip(packet).step_by(PACKETS).flatten().copied())
        .collect();
    // The stream has no end, which is an empty block that says that it is the last one.
    written.extend([1, 0, 0]);
    assert!(zstd(&["-dc"], &written) == dealt, "what was compressed is what went in");
    // The program flushes nothing in between, so that it has fewer tables of codes: one in 128 KiB.
    let level = |level: &str| zstd(&[level, "-c"], &dealt).len() as f64 / dealt.len() as f64;
    let ratio = written.len() as f64 / dealt.len() as f64;
    assert!((ratio / level("-1") - 1.0).abs() < 0.01, "{ratio} for {}", level("-1"));
    assert!((ratio / level("-3") - 1.0).abs() > 0.01, "{ratio}, as of level 3: {}", level("-3"));
    assert!((found.ratio / ratio - 1.0).abs() < 0.02, "{} for {ratio}", found.ratio);
}

#[test]
fn the_interval_is_that_of_students_t() {
    // The mean 0.5 and the standard deviation 0.1 of 8: t = 2.364624 at 95 %.
    let packets: Vec<_> = (0..8).map(|at| (1.0, 0.5 + if at % 2 == 0 { 0.1 } else { -0.1 })).collect();
    let found = interval(&packets, 0.5, 0.95);
    let error = (8.0 * 0.01 / 7.0_f64 / 8.0).sqrt() / 0.5;
    assert!((found.high - 0.5 * (2.364_624_251_592_785 * error).exp()).abs() < 1e-9, "{found:?}");
    assert!((found.low - 0.5 * (-2.364_624_251_592_785 * error).exp()).abs() < 1e-9, "{found:?}");
}
