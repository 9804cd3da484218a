// Breaks of measuring another process from outside.

const core = 'crates/dirtyrate/src/sampling/process'

export default [
  {
    name: 'read the pages of another process without asking whether they exist',
    file: `${core}/reader.rs`,
    find: 'presence == Presence::Present;',
    replace: 'presence != Presence::Swapped;',
    test: 'sampling_process',
  },
  {
    name: 'read shared memory by the page tables of one process',
    file: `${core}/reader.rs`,
    find: '.then(|| Backing::open(process.pid(), &maps, &mapping)).flatten();',
    replace: '.then(|| None::<Backing>).flatten();',
    test: 'sampling_process',
  },
  {
    name: 'read private memory from its file',
    file: `${core}/reader.rs`,
    find: 'let by_file = of.mapping.shared && of.backing.is_some();',
    replace: 'let by_file = of.backing.is_some();',
    test: 'sampling_process',
  },
  {
    name: 'do not notice that memory was unmapped',
    file: `${core}/sample.rs`,
    find: 'sampling.reader().check_mappings()?;',
    replace: '',
    test: 'sampling_process',
  },
  {
    name: 'take the memory of another program for that of the process',
    file: `${core}/process_fd.rs`,
    find: 'if has_address_space(&self.pagemap) {',
    replace: 'if !self.has_ended() {',
    test: 'sampling_process',
  },
  {
    name: 'read what is only on the disk',
    file: `${core}/backing.rs`,
    find: 'if !in_memory {',
    replace: 'if false {',
    test: 'sampling_process',
  },
  {
    name: 'settle a look that the scan has not reached',
    file: `${core}/presence.rs`,
    find: '.partition_point(|&address| address < region.start),',
    replace: '.partition_point(|&address| address <= region.start),',
    test: 'sampling_process',
  },
  {
    name: 'count a page that comes back from the disk as changed',
    file: 'crates/dirtyrate/src/sampling/passes.rs',
    find: 'if self.hashes[sample] == NOT_SEEN {',
    replace: 'if false {',
    test: 'sampling::tests',
  },
  {
    name: 'take every block of QEMU for RAM',
    file: 'ts/targets/process/vmms/qemu.ts',
    find: "mapping.flags.has('dc') && isGuarded",
    replace: 'isGuarded',
    test: '__test__/targets/process/guest-memory.test.ts',
  },
  {
    name: 'read memory that a userfaultfd serves',
    file: 'ts/targets/process/vmms/vmms.ts',
    find: 'ranges: ranges.filter(range => !isServed(range)),',
    replace: 'ranges,',
    test: '__test__/targets/process/guest-memory.test.ts',
  },
  {
    name: 'measure a process that is stopped',
    file: 'ts/targets/process/source.ts',
    find: 'if (isStopped(pid)) {',
    replace: 'if (pid < 0) {',
    test: '__test__/targets/process/process-target.test.ts -t when it is stopped',
  },
  {
    name: 'call a figure whole although pages were not judged',
    file: 'ts/targets/page-sampling.ts',
    find: 'complete: unjudged === 0,',
    replace: 'complete: true,',
    test: '__test__/measurement/figures.test.ts',
  },
  {
    name: 'take the refusal of a process that has ended for a mistake of the caller',
    file: 'ts/targets/process/source.ts',
    find: 'isRefused && hasNoMemory(this.#of.pid)',
    replace: 'isRefused && false',
    test: '__test__/targets/process/process-target.test.ts -t a process without memory has ended',
  },
]
