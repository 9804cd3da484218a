// Breaks of the kernels over bitmaps, and of the choice among them.

export default [
  {
    name: 'give every processor the hints that pay on one',
    file: 'crates/dirtyrate/src/bitmap/hints.rs',
    find: 'if vendor == b"GenuineIntel" { Self::On } else { Self::Off }',
    replace: 'let _ = vendor; Self::On',
    test: 'bitmap::hints::tests',
  },
  {
    name: 'take the words of CPUID in the order of their names',
    file: 'crates/dirtyrate/src/bitmap/hints.rs',
    find: '[leaf.ebx, leaf.edx, leaf.ecx]',
    replace: '[leaf.ebx, leaf.ecx, leaf.edx]',
    test: 'bitmap::hints::tests',
  },
  {
    name: 'ignore the variable that forces the hints',
    file: 'crates/dirtyrate/src/bitmap/dispatch.rs',
    find: 'Hints::named(std::env::var_os(HINTS_VARIABLE))?',
    replace: 'Hints::named(None)?',
    test: 'bitmap::tests',
  },
  {
    name: 'count a line that is merged twice',
    file: 'crates/dirtyrate/src/bitmap/generic.rs',
    find: 'target.newly[lane] += u64::from((line[lane] & !words[lane]).count_ones());',
    replace: 'target.newly[lane] += u64::from(line[lane].count_ones());',
    test: 'bitmap::tests',
  },
  {
    name: 'forget the words behind the last line',
    file: 'crates/dirtyrate/src/bitmap/generic.rs',
    find: '    count + sum(rest)\n}',
    replace: '    count + sum(&rest[..rest.len() / 8 * 8])\n}',
    test: 'bitmap::tests',
  },
  {
    name: 'lose a run that goes on over a clean line',
    file: 'crates/dirtyrate/src/bitmap/generic.rs',
    find: 'let clean = if EDGES { 0_u64.wrapping_sub(before) } else { 0 };',
    replace: 'let clean = 0;',
    test: 'bitmap::tests',
  },
]
