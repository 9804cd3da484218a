//! Every kernel of every backend against the oracle, on words of any number, at any address.

use std::ops::Range;

use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::*;

/// Most bitmaps of the tests: many lines and no multiple of any vector, or so few words that the ends are all there is.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![0..80_usize, 0..4000_usize]
}

/// Words at an address that is any number of words past a line's: a buffer, and where they are in it.
struct Words {
    buffer: Vec<u64>,
    range: Range<usize>,
}

impl Words {
    /// Stretches of clean words, full words, single bits, single holes, noise, and runs that end anywhere.
    fn new(seed: u64, length: usize, offset: usize) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        // What is around the words is set: a kernel that reads there answers wrong.
        let mut buffer = vec![u64::MAX; length + 32];
        let misaligned = (buffer.as_ptr() as usize / size_of::<u64>()) % WORDS_PER_LINE;
        let start = (WORDS_PER_LINE - misaligned) % WORDS_PER_LINE + offset;
        let mut words = buffer[start..start + length].iter_mut();
        while words.len() > 0 {
            let (kind, stretch) = (random.next_u64() % 6, 1 + random.next_u64() as usize % 40);
            for word in words.by_ref().take(stretch) {
                let bits = random.next_u64();
                *word = match kind {
                    0 => 0,
                    1 => u64::MAX,
                    2 => 1 << (bits % 64),
                    3 => !(1 << (bits % 64)),
                    4 => bits,
                    _ => u64::MAX << (bits % 64) >> (bits >> 8 & 31),
                };
            }
        }
        Self { buffer, range: start..start + length }
    }

    fn words(&self) -> &[u64] {
        &self.buffer[self.range.clone()]
    }
}

/// Tests of one backend, without hints and with them; or none, said, where the CPU cannot run it.
macro_rules! test_backend {
    ($name:ident, $backend:expr) => {
        mod $name {
            use super::*;

            test_kernels!(without_hints, $backend, Hints::Off);
            test_kernels!(with_hints, $backend, Hints::On);
        }
    };
}

/// Tests of one backend's kernels with hints, or of those without.
macro_rules! test_kernels {
    ($name:ident, $backend:expr, $hints:expr) => {
        mod $name {
            use super::*;

            fn check(check: impl FnOnce(&Kernels)) {
                match Kernels::new($backend, $hints) {
                    Some(kernels) => check(kernels),
                    None => eprintln!("skipped: this CPU cannot run '{}'", $backend),
                }
            }

            proptest! {
                #[test]
                fn counts(seed: u64, length in lengths(), offset in 0..8_usize) {
                    let words = Words::new(seed, length, offset);
                    check(|kernels| oracle::check_count(kernels, words.words()));
                }

                #[test]
                fn merges(seed: u64, length in lengths(), offset in 0..8_usize, others in prop::collection::vec(0..8_usize, 0..5)) {
                    let source = Words::new(seed, length, offset);
                    let targets: Vec<_> =
                        (1..).zip(others).map(|(i, offset)| Words::new(seed ^ i, length, offset)).collect();
                    let targets: Vec<_> = targets.iter().map(Words::words).collect();
                    check(|kernels| oracle::check_merge(kernels, source.words(), &targets));
                }

                #[test]
                fn finds_the_extent(seed: u64, length in lengths(), cut in 0..5000_usize, kept in 0..100_usize) {
                    let mut words = vec![0; length];
                    let dirty = Words::new(seed, length, 0);
                    let kept = cut.min(length)..(cut + kept).min(length);
                    words[kept.clone()].copy_from_slice(&dirty.words()[kept]);
                    check(|kernels| oracle::check_extent(kernels, &words));
                }

                #[test]
                fn heats(
                    seed: u64, length in lengths(), offset in 0..8_usize,
                    pages_per_region in prop_oneof![Just(32_u64), Just(128), Just(512), 1..1300_u64],
                    more in 0..3_usize, fewer in 0..3_usize,
                ) {
                    let words = Words::new(seed, length, offset);
                    let regions = (length as u64 * 64).div_ceil(pages_per_region) as usize;
                    let regions = (regions + more).saturating_sub(fewer);
                    check(|kernels| oracle::check_heat(kernels, words.words(), pages_per_region, regions));
                }

                #[test]
                fn counts_granules(
                    seed: u64, length in lengths(), offset in 0..8_usize,
                    pages_per_granule in prop_oneof![
                        (0..12_u32).prop_map(|power| 1 << power), (1..20_u64).prop_map(|words| words * 64), 1..1300_u64,
                    ],
                    phase in prop_oneof![Just(0_u64), any::<u64>()],
                ) {
                    let words = Words::new(seed, length, offset);
                    let phase = phase % pages_per_granule;
                    check(|kernels| oracle::check_granules(kernels, words.words(), pages_per_granule, phase));
                }

                #[test]
                fn finds_positions(
                    seed: u64, length in lengths(), offset in 0..8_usize, from in 0..100_000_u64,
                    room in prop_oneof![1..200_usize, 1..100_000_usize],
                ) {
                    let words = Words::new(seed, length, offset);
                    check(|kernels| oracle::check_positions(kernels, words.words(), from, room));
                }

                #[test]
                fn finds_ranges(
                    seed: u64, length in lengths(), offset in 0..8_usize, from in 0..100_000_u64,
                    room in prop_oneof![1..200_usize, 1..20_000_usize],
                ) {
                    let words = Words::new(seed, length, offset);
                    check(|kernels| oracle::check_ranges(kernels, words.words(), from, room));
                }
            }

            #[test]
            fn ends_are_exact() {
                check(|kernels| {
                    for words in [&[][..], &[0; 17], &[u64::MAX; 17], &[1 << 63, 1], &[u64::MAX; 8], &[u64::MAX; 64]] {
                        oracle::check_count(kernels, words);
                        oracle::check_merge(kernels, words, &[words, &vec![0; words.len()]]);
                        oracle::check_extent(kernels, words);
                        for from in [0, 1, 63, 64, 65, 17 * 64 - 1, 17 * 64, u64::from(u32::MAX)] {
                            oracle::check_positions(kernels, words, from, 1);
                            oracle::check_positions(kernels, words, from, 64);
                            oracle::check_ranges(kernels, words, from, 1);
                        }
                    }
                });
            }

            /// Clean lines of a log leave a terabyte's bitmap what it was: not there.
            #[test]
            fn a_clean_line_touches_no_target() {
                check(|kernels| {
                    let mut target = Untouched::new(64);
                    let words_per_page = target.page / size_of::<u64>();
                    let mut source = vec![0; target.words().len()];
                    let dirty = [7, 40, 63];
                    dirty.iter().for_each(|page| source[page * words_per_page + 11] = 1 << 5);
                    let mut targets = [Target::new(target.words())];
                    kernels.merge(&source, &mut targets);
                    assert_eq!(targets[0].newly(), dirty.len() as u64);
                    assert_eq!(target.resident(), dirty);
                });
            }
        }
    };
}

test_backend!(generic, Backend::Generic);
#[cfg(target_arch = "x86_64")]
test_backend!(popcnt, Backend::Popcnt);
#[cfg(target_arch = "x86_64")]
test_backend!(avx2, Backend::Avx2);
#[cfg(target_arch = "x86_64")]
test_backend!(avx512, Backend::Avx512);
#[cfg(target_arch = "aarch64")]
test_backend!(neon, Backend::Neon);

/// Fresh anonymous memory. The kernel says which of its pages it has had to provide.
struct Untouched {
    address: *mut libc::c_void,
    pages: usize,
    page: usize,
}

impl Untouched {
    fn new(pages: usize) -> Self {
        // SAFETY: sysconf reads no memory of ours.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses touches nothing that exists.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), pages * page, protection, flags, -1, 0) };
        assert_ne!(address, libc::MAP_FAILED);
        // A huge page would make neighbours resident.
        // SAFETY: the advice is about the mapping just made, and changes no contents.
        unsafe { libc::madvise(address, pages * page, libc::MADV_NOHUGEPAGE) };
        Self { address, pages, page }
    }

    fn words(&mut self) -> &mut [u64] {
        // SAFETY: the mapping is readable, writable, aligned to pages, zeroed by the kernel, and lives as long as
        // `self`, which is borrowed mutably meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.address.cast(), self.pages * self.page / size_of::<u64>()) }
    }

    /// The pages that were read or written since.
    fn resident(&self) -> Vec<usize> {
        let mut pages = vec![0_u8; self.pages];
        // SAFETY: mincore writes one byte for each page of the mapping, and there is one for each.
        let result = unsafe { libc::mincore(self.address, self.pages * self.page, pages.as_mut_ptr()) };
        assert_eq!(result, 0);
        (0..self.pages).filter(|page| pages[*page] & 1 == 1).collect()
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrows from it any more.
        unsafe { libc::munmap(self.address, self.pages * self.page) };
    }
}

#[test]
fn every_backend_has_its_name_and_its_tables() {
    for backend in Backend::ALL {
        assert_eq!(backend.name().parse::<Backend>().expect("its own name"), backend);
        for hints in Hints::ALL {
            let it = |kernels: &Kernels| (kernels.backend(), kernels.hints()) == (backend, hints);
            assert!(Kernels::new(backend, hints).is_none_or(it));
        }
    }
    assert!(Kernels::new(Backend::Generic, Hints::Off).is_some());
    assert!("sse9".parse::<Backend>().is_err());
}

#[test]
fn a_backend_is_forced_by_name_or_refused_in_clear() {
    for kernels in Kernels::available() {
        let forced = Kernels::named(Some(kernels.backend().name().to_owned()), kernels.hints()).expect("available");
        assert_eq!((forced.backend(), forced.hints()), (kernels.backend(), kernels.hints()));
    }
    for hints in Hints::ALL {
        let best = Kernels::available().last().expect("the generic one");
        let chosen = Kernels::named(None, hints).expect("the best");
        assert_eq!((chosen.backend(), chosen.hints()), (best.backend(), hints));
    }
    let refused = |name: &str| Kernels::named(Some(name.to_owned()), Hints::Off).expect_err("refused").to_string();
    assert!(refused("sse9").contains("there is generic, popcnt, avx2, avx512, neon"));
    assert!(refused("").starts_with(BACKEND_VARIABLE));
    for absent in Backend::ALL.into_iter().filter(|backend| Kernels::new(*backend, Hints::Off).is_none()) {
        let text = refused(absent.name());
        assert!(text.contains("this CPU cannot run") && text.contains("it can run generic"), "{text}");
    }
}

/// What the variables say is what runs, and a value that means nothing is refused before anything is counted. In
/// processes of their own, because a choice is made once.
#[test]
fn the_variables_force_the_kernels_of_a_process() {
    const CHILD: &str = "DIRTYRATE_TEST_CHOOSES";
    if std::env::var_os(CHILD).is_some() {
        match Kernels::choose() {
            Ok(kernels) => println!("chosen {} {}", kernels.backend(), kernels.hints()),
            Err(error) => println!("refused {error}"),
        }
        return;
    }
    let run = |backend: Option<&str>, hints: Option<&str>| {
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "bitmap::tests::the_variables_force_the_kernels_of_a_process", "--nocapture"]);
        child.env(CHILD, "1").env_remove(BACKEND_VARIABLE).env_remove(HINTS_VARIABLE);
        child.envs(backend.map(|name| (BACKEND_VARIABLE, name))).envs(hints.map(|name| (HINTS_VARIABLE, name)));
        String::from_utf8(child.output().expect("it runs").stdout).expect("text")
    };
    let best = Kernels::available().last().expect("the generic one").backend();
    assert!(run(None, None).contains(&format!("chosen {best} {}", Hints::for_this_cpu())));
    for hints in Hints::ALL {
        assert!(run(None, Some(hints.name())).contains(&format!("chosen {best} {hints}")));
        assert!(run(Some("generic"), Some(hints.name())).contains(&format!("chosen generic {hints}")));
    }
    assert!(run(None, Some("maybe")).contains("refused") && run(Some("sse9"), Some("on")).contains("refused"));
}

#[test]
#[should_panic(expected = "another length")]
fn a_target_of_another_length_is_refused() {
    Kernels::get().merge(&[1, 2, 3], &mut [Target::new(&mut [0; 4])]);
}

/// Not a test: what `scripts/test/address.sh` runs to see that AddressSanitizer notices.
#[cfg(address_sanitizer)]
#[test]
#[ignore = "reads past the end of an allocation, for AddressSanitizer to notice"]
fn reads_past_the_end() {
    let words = Words::new(1, 1000, 0);
    let (address, room) = (words.buffer.as_ptr(), words.buffer.len());
    // SAFETY: there is none. This is the fault to be noticed.
    let past = unsafe { std::slice::from_raw_parts(address, room + 1) };
    std::hint::black_box(Kernels::get().count(past));
}
