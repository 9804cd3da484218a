//! What makes a backend: the generic kernels, compiled once more.

/// The tables of a backend, without hints and with them: the generic kernels, compiled for `features`, all of which `detected` must
/// find in the CPU, with the backend's own way to `count`, and to `expand` a word into the positions of its bits. Without features, what
/// is always there.
macro_rules! backend {
    ($backend:expr, $detected:ident: [$($feature:tt),*], count: $count:path, expand: $expand:path) => {
        /// Whether this CPU can run it.
        pub fn is_available() -> bool {
            true $(&& std::arch::$detected!($feature))*
        }

        /// Its kernels; `None` where this CPU cannot run it.
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

        // These two hint in both variants: they are bound by arithmetic, and what the compiler makes of them without is slower in any
        // cache (`docs/decisions/prefetch-hints.md`).
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
