// Breaks the core in known ways, one at a time, in a copy of it, and demands that a test notices each. A test suite that stays
// green over a broken core would be worth nothing. Exit status 0: every break was noticed.
//
//   node scripts/mutation-gate.mjs [NAME…]     the breaks whose names contain one of these; all by default

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const tree = join(root, 'target', 'mutation', 'tree')
const source = 'crates/dirtyrate/src'

/** Far more than the slowest of these tests takes; a break that makes one hang is noticed by this. */
const TIMEOUT_MS = 90_000
/** Loom's models take half a minute of a quiet machine. */
const LOOM_TIMEOUT_MS = 300_000

/** Tests inside the library, by their module, of which loom runs the first; every other name is that of an integration test. */
const LOOM = 'loom_models'
const RING_MODEL = 'dirty_ring::model_tests'
const SIGNALS = 'signals::tests'
const INSIDE = [LOOM, RING_MODEL, SIGNALS]

/** What is broken: `find` must be in `file` exactly once, and `test` must fail when it is `replace` instead. */
const mutations = [
  {
    name: 'skip CLEAR',
    file: 'kvm/dirty_log.rs',
    find: 'clear_dirty_log(&**slots.vm(), slot, first_page, count, bits, name)',
    replace: '{ let _ = (slot, count, bits, name); Ok(()) }',
    test: 'measured_equals_truth',
  },
  {
    name: 'skip CLEAR of the first round',
    file: 'dirty_memory/sync.rs',
    find: 'self.log.reprotect(id, first, pages, &self.buffer[..words_for(pages)])?;',
    replace: 'let _ = (id, first, pages);',
    test: 'measured_equals_truth',
  },
  {
    name: 'CLEAR one word too few',
    file: 'dirty_memory/sync.rs',
    find: 'let first_word = number * words_for(chunk_pages) + extent.start;',
    replace:
      'let extent = extent.start..(extent.end - 1).max(extent.start + 1); let first_word = number * words_for(chunk_pages) + extent.start;',
    test: 'measured_equals_truth',
  },
  {
    name: 'CLEAR at the wrong page',
    file: 'dirty_memory/sync.rs',
    find: 'let first = first_word as u64 * PAGES_PER_WORD;',
    replace: 'let first = (first_word - extent.start) as u64 * PAGES_PER_WORD;',
    test: 'measured_equals_truth',
  },
  {
    name: 'drop the last word',
    file: 'dirty_memory/block.rs',
    find: 'let at = chunk * words_for(self.chunk_pages) + first;',
    replace:
      'let at = chunk * words_for(self.chunk_pages) + first;\n        let words = &words[..words.len() - 1];',
    test: 'measured_equals_truth',
  },
  {
    name: 'fan out to one client only',
    file: 'dirty_memory/block.rs',
    find: '.filter(|(client, _)| told(**client, vga))',
    replace: '.take(1).filter(|(client, _)| told(**client, vga))',
    test: 'migration_beside',
  },
  {
    name: 'forget a block',
    file: 'dirty_memory/sync.rs',
    find: 'for index in 0..memory.block_count() {\n                if memory.look_at',
    replace: 'for index in 1..memory.block_count() {\n                if memory.look_at',
    test: 'measured_equals_truth',
  },
  {
    name: 'count a page twice',
    file: 'dirty_memory/reap.rs',
    find: 'reap.pages += dirty;',
    replace: 'reap.pages += dirty * 2;',
    test: 'measured_equals_truth',
  },
  {
    name: 'clear every client',
    file: 'dirty_memory/bits.rs',
    find: '            block.clear(client);',
    replace:
      '            let all: Vec<_> = block.bits.keys().copied().collect();\n            all.into_iter().for_each(|client| block.clear(client));',
    test: 'migration_beside',
  },
  {
    name: 'migration does not begin full',
    file: 'dirty_memory/block.rs',
    find: 'if client.begins_full() {',
    replace: 'if false {',
    test: 'migration_beside',
  },
  {
    name: 'take before the first round is over',
    file: 'dirty_memory/sync.rs',
    find: 'if !client.begins_full() {\n            return Ok(());',
    replace: 'if true {\n            return Ok(());',
    test: 'migration_beside',
  },
  {
    name: 'remove a block without a last fetch',
    file: 'dirty_memory/mod.rs',
    find: 'self.run_partial_sync(|memory| memory.fetch_block(index).map(drop))?;',
    replace: 'let _ = index;',
    test: 'blocks_come_and_go',
  },
  {
    name: 'leave a new block in its first round',
    file: 'dirty_memory/mod.rs',
    find: 'self.reconcile_block(at).and_then(|()| self.reprotect_initial_chunks(at, &CancelToken::new()).map(drop));',
    replace: 'self.reconcile_block(at);',
    test: 'blocks_come_and_go',
  },
  {
    name: 'forget the bits of removed blocks',
    file: 'dirty_memory/mod.rs',
    find: 'bits.removed.push(block);',
    replace: 'drop(block);',
    test: 'blocks_come_and_go',
  },
  {
    name: 'do not mark what the host writes',
    file: 'dirty_memory/bits.rs',
    find: 'block.set_range(client, range);',
    replace: 'let _ = (&block, client, range);',
    test: 'blocks_come_and_go',
  },
  {
    name: 'stop without a last sync',
    file: 'dirty_memory/tracking.rs',
    find: 'memory.sync_last(index, client)',
    replace: '{ let _ = (&memory, index); Ok(()) }',
    test: 'migration_beside',
  },
  {
    name: 'report the window that was asked for',
    file: 'dirty_memory/reap.rs',
    find: '(Some(opened), Some(fetched)) if !self.longest.is_zero() => fetched.saturating_duration_since(opened),',
    replace:
      '(Some(opened), Some(fetched)) => Duration::from_millis(fetched.saturating_duration_since(opened).as_millis() as u64),',
    test: 'windows',
  },
  {
    name: 'let the next window open at the deadline',
    file: 'dirty_memory/deadline.rs',
    find: 'let reopened = opening(&memory.bits(), client)?.saturating_duration_since(opened);',
    replace: 'let reopened = { let _ = opened; deadline };',
    test: 'windows',
  },
  {
    name: 'keep the bits that a deadline takes',
    file: 'dirty_memory/deadline.rs',
    find: 'let reap = memory.reap(client, take)?;',
    replace: 'let reap = memory.reap(client, take && client.begins_full())?;',
    test: 'windows',
  },
  {
    name: 'never signal a vCPU',
    file: 'kvm/vcpu/kick.rs',
    find: 'let result = unsafe { libc::pthread_kill(thread, self.signal) };',
    replace: 'let result = { let _ = (thread, self.signal); 0 };',
    test: 'life',
  },
  {
    name: 'a pause does not wait',
    file: 'kvm/vcpu/shared.rs',
    find: 'let state = self.wait_parked(lock(&self.state));',
    replace: 'let state = lock(&self.state);',
    test: 'life',
  },
  {
    name: 'wait for a pause that was overruled',
    file: 'kvm/vcpu/shared.rs',
    find: 'while state.running > 0 && !state.may_run() {',
    replace: 'while state.running > 0 {',
    test: 'life',
  },
  {
    name: 'load without marking the pages',
    file: 'kvm/vm.rs',
    find: 'self.lock_dirty_bits().mark_host_write(guest_address, bytes.len() as u64);',
    replace: '',
    test: 'life',
  },
  {
    name: 'leave BSS as it is',
    file: 'machine/boot/kernel.rs',
    find: 'plan.zero(segment.p_paddr + segment.p_filesz, rest);',
    replace: 'let _ = rest;',
    test: 'life',
  },
  {
    name: 'let the truth stay where it was when a client stops',
    file: 'dirty_memory/witness.rs',
    find: 'closing.after = fetched;',
    replace: 'let _ = (closing, fetched);',
    test: 'migration_beside',
  },
  {
    name: 'lose the bits of a failed sync',
    file: 'dirty_memory/block.rs',
    find: 'told(**client, vga)',
    replace: 'told(**client, vga) && words[0] % 3 != 1',
    test: 'dirty_memory_model',
  },
  {
    name: 'mark the first client only',
    file: 'dirty_memory/bits.rs',
    find: 'for client in self.tracking.iter().copied().chain(vga) {',
    replace: 'for client in self.tracking.iter().copied().chain(vga).take(1) {',
    test: 'dirty_memory_model',
  },
  {
    name: 'count duplicates as pages',
    file: 'dirty_memory/reap.rs',
    find: 'reap.pages += written.pages.len();',
    replace: 'reap.pages += written.entries;',
    test: 'rings',
  },
  {
    name: 'let a vCPU pass its watermark',
    file: 'kvm/dirty_ring/rings.rs',
    find: 'ring.cursor.is_dirty_at(&ring.ring, entries)',
    replace: '{ let _ = (ring, entries); false }',
    test: 'ring_hazards',
  },
  {
    name: 'never RESET the rings',
    file: 'kvm/dirty_ring/rings.rs',
    find: 'expected == 0 || u64::from(slots.reset()?) == expected',
    replace: '{ let _ = &slots; expected < u64::MAX }',
    test: 'rings',
  },
  {
    name: 'do not look for what was written over',
    file: 'kvm/dirty_ring/cursor.rs',
    find: 'if !self.suspect {',
    replace: 'if !self.suspect || self.unreset() < u32::MAX {',
    test: 'rings',
  },
  {
    name: 'free a ring at one word of the kernel, after the first time',
    file: 'kvm/dirty_ring/cursor.rs',
    find: '(self.suspect, self.verified, self.starved) = (true, false, 0);',
    replace: '(self.suspect, self.verified) = (true, false);',
    test: RING_MODEL,
  },
  {
    name: 'take it that RESET took what it should',
    file: 'kvm/dirty_ring/cursor.rs',
    find: 'self.adrift |= self.unreset() > 0;',
    replace: 'self.reset = self.next;',
    test: RING_MODEL,
  },
  {
    name: 'do not say that a vCPU came round',
    file: 'kvm/dirty_ring/rings.rs',
    find: 'self.may_have_lost();\n        let slots',
    replace: 'let slots',
    test: RING_MODEL,
  },
  {
    name: 'let a signal end a RESET',
    file: 'kvm/signals.rs',
    find: 'let _mask = Mask::set(u64::MAX);',
    replace: 'let _mask = Mask::set(0);',
    test: SIGNALS,
  },
  {
    name: 'leave unprotected what a RESET that ended early did',
    file: 'kvm/dirty_ring/rings.rs',
    find: 'slots.protect_all()?;',
    replace: '',
    test: RING_MODEL,
  },
  {
    name: 'lose what a block had when its log went off',
    file: 'kvm/dirty_ring/mod.rs',
    find: 'lock(&self.rings).set_in(block, into);',
    replace: 'if block.0 % 2 == 1 { lock(&self.rings).set_in(block, into); }',
    test: 'rings',
  },
  {
    name: 'mark a block that came after the write',
    file: 'kvm/vm.rs',
    find: 'let layout = self.read_layout();\n        if !layout',
    replace: 'let layout = Layout { memory: self.memory(), ..Layout::default() };\n        if !layout',
    test: 'concurrent_use',
  },
  {
    name: 'CLEAR more than was fetched',
    file: 'dirty_memory/sync.rs',
    find: 'self.log.reprotect(block, first, count, &self.buffer[first_word..first_word + extent.len()])?;',
    replace: 'self.log.reprotect(block, first, count, &vec![u64::MAX; extent.len()])?;',
    test: 'concurrent_use',
  },
  {
    name: 'CLEAR more than was fetched, in the models',
    file: 'dirty_memory/sync.rs',
    find: 'self.log.reprotect(block, first, count, &self.buffer[first_word..first_word + extent.len()])?;',
    replace: 'self.log.reprotect(block, first, count, &vec![u64::MAX; extent.len()])?;',
    test: LOOM,
  },
  {
    name: 'hold the bits while the log is asked',
    file: 'dirty_memory/sync.rs',
    find: 'self.log.fetch(id, fetched)?;',
    replace: '{ let _bits = lock(&self.bits); self.log.fetch(id, fetched)?; }',
    test: LOOM,
  },
  {
    name: 'a hold does not kick',
    file: 'kvm/vcpu/shared.rs',
    find: '        self.0.kick();\n',
    replace: '',
    test: LOOM,
  },
  {
    name: 'forget a kick on the way into KVM_RUN',
    file: 'kvm/vcpu/shared.rs',
    find: 'self.kicks[vcpu].clear();',
    replace: 'drop(state); self.kicks[vcpu].clear();',
    test: LOOM,
  },
  {
    name: 'close a window before its last harvest',
    file: 'kvm/dirty_ring/mod.rs',
    find: 'rings.harvest_stopped()?;\n        rings.close_window()?;',
    replace: 'rings.close_window()?;\n        rings.harvest_stopped()?;',
    test: LOOM,
  },
  {
    name: 'draw an edge while the vCPUs run',
    file: 'kvm/dirty_ring/mod.rs',
    find: '    hold(vcpus, || {\n        let closed',
    replace:
      '    fn open<T>(_: &dyn HoldVcpus, work: impl FnOnce() -> T) -> Result<T> { Ok(work()) }\n    open(vcpus, || {\n        let closed',
    test: LOOM,
  },
  {
    name: 'compare a sample with another',
    file: 'sampling/passes.rs',
    find: '!= self.hashes[sample];',
    replace: '!= self.hashes[0];',
    test: 'sampling_guest',
  },
  {
    name: 'count the hits of earlier deadlines again',
    file: 'sampling/passes.rs',
    find: 'new_hits: hits - samples.reported,',
    replace: 'new_hits: hits,',
    test: 'sampling_guest',
  },
  {
    name: 'map what nobody has touched',
    file: 'sampling/guest_memory.rs',
    find: 'flags & libc::MAP_ANONYMOUS != 0 && flags & libc::MAP_PRIVATE != 0',
    replace: 'flags == 0',
    test: 'sampling_guest',
  },
  {
    name: 'intervals that are too narrow',
    file: 'sampling/interval.rs',
    find: 'IntervalMethod::Wilson => wilson(hits, samples, self.z),',
    replace: 'IntervalMethod::Wilson => wilson(hits, samples, self.z / 2.0),',
    test: 'sampling_guest',
  },
  {
    name: 'sample a block that went until the end',
    file: 'sampling/passes.rs',
    find: 'match samples.removed.filter(|&at| at < closed.middle) {',
    replace: 'match samples.removed.filter(|_| false) {',
    test: 'sampling_blocks',
  },
  {
    name: 'do not sample a block that comes',
    file: 'machine/sample.rs',
    find: 'for change in watch.take() {',
    replace:
      'for change in watch.take().into_iter().filter(|change| matches!(change, BlockChange::Removed { .. })) {',
    test: 'sampling_blocks',
  },
  {
    name: 'trace what was seen at the first look',
    file: 'sampling/passes.rs',
    find: 'trace::get_ramblock_vfn_hash(name, samples.looks[sample].page, hash);',
    replace: 'trace::get_ramblock_vfn_hash(name, samples.looks[sample].page, samples.hashes[sample]);',
    test: 'sampling_blocks',
  },
]

const env = {
  ...process.env,
  CARGO_TARGET_DIR: join(root, 'target', 'mutation', 'build'),
  RUST_BACKTRACE: '0',
  DIRTYRATE_REQUIRE_KVM: '1',
}

const loomEnv = {
  ...env,
  CARGO_TARGET_DIR: join(root, 'target', 'mutation', 'loom'),
  RUSTFLAGS: '--cfg loom',
  LOOM_MAX_PREEMPTIONS: '2',
}

/** Builds a test of the tree; its executable, or what the compiler said. */
function build(name) {
  const args = [
    'test',
    '--locked',
    '--release',
    '-p',
    'dirtyrate',
    ...(INSIDE.includes(name) ? ['--lib'] : ['--test', name]),
    '--no-run',
    '--message-format=json',
  ]
  const { status, stdout, stderr } = spawnSync('cargo', args, {
    cwd: tree,
    env: name === LOOM ? loomEnv : env,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (status !== 0) return { errors: stderr }
  const artifacts = stdout
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line))
  return {
    executable: artifacts.findLast(
      artifact =>
        artifact.executable && artifact.target.name === (INSIDE.includes(name) ? 'dirtyrate' : name),
    ).executable,
  }
}

/** Runs it, not by way of cargo: what is killed at the time limit must be the test itself. */
function run(executable, name) {
  const cwd = join(tree, 'crates', 'dirtyrate')
  return spawnSync(executable, INSIDE.includes(name) ? [name] : [], {
    cwd,
    env: name === LOOM ? loomEnv : env,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: name === LOOM ? LOOM_TIMEOUT_MS : TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
}

function fresh() {
  rmSync(tree, { recursive: true, force: true })
  mkdirSync(tree, { recursive: true })
  for (const path of ['Cargo.toml', 'Cargo.lock', 'crates'])
    cpSync(join(root, path), join(tree, path), { recursive: true })
}

const wanted = process.argv.slice(2)
const chosen = mutations.filter(({ name }) => wanted.length === 0 || wanted.some(part => name.includes(part)))
let passed = 0
let failed = 0
const say = (ok, name, text) => {
  ok ? passed++ : failed++
  console.log(`${ok ? 'ok    ' : 'FAILED'} ${name}: ${text}`)
}

fresh()
for (const { name, file, find, replace, test: target } of chosen) {
  const path = join(tree, source, file)
  const whole = readFileSync(path, 'utf8')
  const places = whole.split(find).length - 1
  if (places !== 1) {
    say(false, name, `the code to break is in ${file} ${places} times: bring this gate up to date`)
    continue
  }
  writeFileSync(
    path,
    whole.replace(find, () => replace),
  )
  const { executable, errors } = build(target)
  if (errors !== undefined) {
    say(false, name, `does not compile:\n${errors}`)
  } else {
    const { status, signal, error } = run(executable, target)
    if (status === 0) say(false, name, `${target} did not notice`)
    else say(true, name, `noticed by ${target}${status === null ? ` (${error?.code ?? signal})` : ''}`)
  }
  writeFileSync(path, whole)
}
// The other half of the proof: unbroken, the same tests pass.
for (const target of new Set(chosen.map(mutation => mutation.test))) {
  const { executable, errors } = build(target)
  const { status, stdout, stderr } =
    executable === undefined ? { status: 1, stdout: '', stderr: errors } : run(executable, target)
  say(status === 0, 'unbroken', `${target} ${status === 0 ? 'passes' : `fails:\n${stdout}${stderr}`}`)
}
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 && passed > 0 ? 0 : 1
