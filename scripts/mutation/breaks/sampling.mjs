// Breaks of page sampling.

export default [
  {
    name: 'look at a page past the end of a block',
    file: 'crates/dirtyrate/src/sampling/guest_memory.rs',
    find: 'if looks.iter().any(|look| look.page >= info.pages) {',
    replace: 'if looks.iter().any(|look| look.page == u64::MAX) {',
    test: 'sampling::tests',
  },
  {
    name: 'judge a sample by what a reader shows in its place',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'strange.note(place != visited || place >= count, &contents, page_size);',
    replace: 'strange.note(place >= count, &contents, page_size);',
    test: 'sampling::tests',
  },
  {
    name: 'let a block that is gone go again',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'self.blocks[block].removed.get_or_insert(at);',
    replace: 'self.blocks[block].removed = Some(at);',
    test: 'sampling::tests',
  },
  {
    name: 'compare a sample with another',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: '!= self.hashes[sample];',
    replace: '!= self.hashes[0];',
    test: 'sampling_guest',
  },
  {
    name: 'count the hits of earlier deadlines again',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'new_hits: hits - samples.reported,',
    replace: 'new_hits: hits,',
    test: 'sampling_guest',
  },
  {
    name: 'map what nobody has touched',
    file: 'crates/dirtyrate/src/sampling/guest_memory.rs',
    find: 'flags & libc::MAP_ANONYMOUS != 0 && flags & libc::MAP_PRIVATE != 0',
    replace: 'flags == 0',
    test: 'sampling_guest',
  },
  {
    name: 'intervals that are too narrow',
    file: 'crates/dirtyrate/src/sampling/interval.rs',
    find: 'IntervalMethod::Wilson => wilson(hits, samples, self.z),',
    replace: 'IntervalMethod::Wilson => wilson(hits, samples, self.z / 2.0),',
    test: 'sampling_guest',
  },
  {
    name: 'sample a block that went until the end',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'match samples.removed.filter(|&at| at < closed.middle) {',
    replace: 'match samples.removed.filter(|_| false) {',
    test: 'sampling_blocks',
  },
  {
    name: 'do not sample a block that comes',
    file: 'crates/dirtyrate-machine/src/machine/sample.rs',
    find: 'for change in watch.take() {',
    replace:
      'for change in watch.take().into_iter().filter(|change| matches!(change, BlockChange::Removed { .. })) {',
    test: 'sampling_blocks',
  },
  {
    name: 'trace what was seen at the first look',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'trace::get_ramblock_vfn_hash(name, samples.looks[sample].page, hash);',
    replace:
      'trace::get_ramblock_vfn_hash(name, samples.looks[sample].page, samples.hashes[sample]);',
    test: 'sampling_blocks',
  },
  {
    name: 'take bytes of any length for a page',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'Contents::Bytes(bytes) if bytes.len() as u64 != page_size =>',
    replace: 'Contents::Bytes(bytes) if bytes.len() as u64 != page_size && false =>',
    test: 'sampling::tests',
  },
  {
    name: 'take any page size of a reader',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'if !page_size.is_power_of_two() {',
    replace: 'if false {',
    test: 'sampling::tests',
  },
  {
    name: 'compress at another level than QEMU',
    file: 'crates/dirtyrate/src/sampling/compressibility.rs',
    find: 'const LEVEL: i32 = 1;',
    replace: 'const LEVEL: i32 = 3;',
    test: 'sampling::compressibility',
  },
  {
    name: 'compress pages of zeros too',
    file: 'crates/dirtyrate/src/sampling/compressibility.rs',
    find: 'Some(page) if page.iter().any(|&byte| byte != 0) => filled.push(at),',
    replace: 'Some(_) => filled.push(at),',
    test: 'sampling::compressibility',
  },
  {
    name: 'give each packet a part of the memory of its own',
    file: 'crates/dirtyrate/src/sampling/compressibility.rs',
    find: 'for page in pages.chunks_exact(page_size).skip(packet).step_by(PACKETS) {',
    replace:
      'for page in pages.chunks_exact(page_size).skip(packet * (count / PACKETS)).take(count / PACKETS) {',
    test: 'sampling::compressibility',
  },
]
