//! The macro that makes a backend, by compiling the generic kernels once more.

/// Makes the two tables of a backend, without hints and with them: the generic kernels, compiled for `features`.
/// `detected` says whether the CPU has all these features. `count` is the backend's own way to count bits, and `expand`
/// its way to turn a word into the positions of its bits. A backend without features runs on every CPU.
macro_rules! backend {
    ($backend:expr, $detected:ident: [$($feature:tt),*], count: $count:path, expand: $expand:path) => {
        /// Whether this CPU can run the backend.
        pub fn is_available() -> bool {
            true $(&& std::arch::$detected!($feature))*
        }

        /// The backend's kernels; `None` if this CPU cannot run it.
        pub fn new(hints: $crate::bitmap::hints::Hints) -> Option<&'static $crate::bitmap::kernels::Kernels> {
            static OFF: $crate::bitmap::kernels::Kernels = table::<false>($crate::bitmap::hints::Hints::Off);
            static ON: $crate::bitmap::kernels::Kernels = table::<true>($crate::bitmap::hints::Hints::On);
            let table = match hints {
                $crate::bitmap::hints::Hints::Off => &OFF,
                $crate::bitmap::hints::Hints::On => &ON,
            };
            is_available().then_some(table)
        }

        const fn table<const HINTS: bool>(hints: $crate::bitmap::hints::Hints) -> $crate::bitmap::kernels::Kernels {
            $crate::bitmap::kernels::Kernels {
                backend: $backend,
                hints,
                count: count::<HINTS>,
                merge: merge::<HINTS>,
                extent,
                heat: heat::<HINTS>,
                granules: granules::<HINTS>,
                positions,
                ranges,
            }
        }

        $(#[target_feature(enable = $feature)])*
        fn count<const HINTS: bool>(words: &[u64]) -> u64 {
            $count(words, $crate::bitmap::generic::ask_ahead::<HINTS>)
        }

        $(#[target_feature(enable = $feature)])*
        fn merge<const HINTS: bool>(source: &[u64], targets: &mut [$crate::bitmap::kernels::Target<'_>]) -> u64 {
            $crate::bitmap::generic::merge(source, targets, $crate::bitmap::generic::ask_ahead::<HINTS>)
        }

        $(#[target_feature(enable = $feature)])*
        fn extent(words: &[u64]) -> Option<std::ops::Range<usize>> {
            $crate::bitmap::generic::extent(words)
        }

        $(#[target_feature(enable = $feature)])*
        fn heat<const HINTS: bool>(words: &[u64], pages_per_region: u64, into: &mut [u32]) {
            let ask = $crate::bitmap::generic::ask_ahead::<HINTS>;
            $crate::bitmap::generic::heat(words, pages_per_region, into, |words| $count(words, ask), ask)
        }

        $(#[target_feature(enable = $feature)])*
        fn granules<const HINTS: bool>(
            words: &[u64],
            pages_per_granule: u64,
            phase: u64,
        ) -> $crate::bitmap::kernels::GranuleCount {
            let ask = $crate::bitmap::generic::ask_ahead::<HINTS>;
            $crate::bitmap::granules::granules(words, pages_per_granule, phase, ask)
        }

        // These two kernels use hints in both variants, because arithmetic limits their speed, and because the
        // compiler's code for them without hints is slower, even in the first-level cache
        // (`docs/decisions/prefetch-hints.md`).
        $(#[target_feature(enable = $feature)])*
        fn positions(words: &[u64], from: u64, into: &mut [u32]) -> usize {
            let ask = $crate::bitmap::generic::ask_ahead::<true>;
            $crate::bitmap::generic::positions(words, from, into, |word, base, into| $expand(word, base, into), ask)
        }

        $(#[target_feature(enable = $feature)])*
        fn ranges(words: &[u64], from: u64, into: &mut [[u32; 2]]) -> usize {
            let ask = $crate::bitmap::generic::ask_ahead::<true>;
            $crate::bitmap::generic::ranges(words, from, into, |word, base, into| $expand(word, base, into), ask)
        }
    };
}
pub(super) use backend;
