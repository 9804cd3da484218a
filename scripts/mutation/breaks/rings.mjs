// Breaks of rings, slots and logs: what they do after a loss or a failure, and what looks after
// them.

const kvm = 'crates/dirtyrate/src/kvm'

export default [
  {
    name: 'count the entries of a ring after all its pages',
    file: 'crates/dirtyrate/src/dirty_memory/sync.rs',
    find: 'of_client.vcpus.add_entries(vcpu, pages);\n        }\n        added += pages;',
    replace: '}\n        let _: u64 = pages;',
    test: 'read_beside_sync',
  },
  {
    name: 'leave unprotected what an overrun wrote over, when RESET counts what it should',
    file: `${kvm}/dirty_ring/rings.rs`,
    find: 'self.unprotected |= harvest.lost > 0 || harvest.at_limit;',
    replace: '',
    test: 'dirty_ring::model_tests',
  },
  {
    name: 'leave manual protect as somebody else set it',
    file: `${kvm}/dirty_log.rs`,
    find: '|vm| set_manual_protect(vm, protect)',
    replace:
      '|vm| if protect == ManualProtect::None { Ok(()) } else { set_manual_protect(vm, protect) }',
    test: 'foreign_hazards',
  },
  {
    name: 'let a second bitmap take what the first would fetch',
    file: `${kvm}/slots.rs`,
    find: 'there.used.strong_count() > 0',
    replace: 'there.used.strong_count() > 1',
    test: 'foreign_hazards',
  },
  {
    name: 'take in a slot without asking the kernel',
    file: `${kvm}/slots.rs`,
    find: 'match table.set(&region, || format!("block \'{name}\' taken in")) {',
    replace: 'match Ok::<(), Error>(()) {',
    test: 'foreign_hazards',
  },
  {
    name: "map another VM's ring without a look behind its end",
    file: `${kvm}/dirty_ring/mapped.rs`,
    find: 'match all_pages_exist(address.cast(), bytes) {',
    replace: 'match all_pages_exist(address.cast(), 0) {',
    test: 'foreign_hazards',
  },
  {
    name: 'say nothing of a full ring that nobody harvests',
    file: `${kvm}/dirty_ring/mod.rs`,
    find: 'return Err(Error::NotAttached { vcpu, attached: rings.vcpus() });',
    replace: 'return Ok(());',
    test: 'foreign_hazards',
  },
  {
    name: 'give up at the first signal',
    file: `${kvm}/signals.rs`,
    find: 'Err(errno) if errno.errno() == libc::EINTR => {}',
    replace: 'Err(errno) if errno.errno() == i32::MAX => {}',
    test: 'kvm::signals::tests',
  },
  {
    name: 'have the kernel clear its log before the buffer is there',
    file: `${kvm}/ioctls.rs`,
    find: '    touch(into);\n',
    replace: '    touch(&mut []);\n',
    test: 'kvm::ioctls::tests',
  },
  {
    name: 'let the next log go on over entries that could not be harvested',
    file: `${kvm}/dirty_ring/mod.rs`,
    find: 'self.take_out_stale()?;\n            self.slots.lock().set_logging(block, true)?;',
    replace: 'self.slots.lock().set_logging(block, true)?;',
    test: 'out_of_memory',
  },
  {
    name: 'wake the reaper while nobody measures',
    file: `${kvm}/dirty_ring/reaper.rs`,
    find: 'pause.filter(|_| control.logging)',
    replace: 'pause',
    test: 'ring_idle',
  },
  {
    name: 'keep the run timers armed while nobody measures',
    file: `${kvm}/dirty_ring/mod.rs`,
    find: 'self.reaping != Reaping::Hold && self.wake.is_logging()',
    replace: 'self.reaping != Reaping::Hold',
    test: 'ring_idle',
  },
  {
    name: 'leave the log of a block on that could not be added',
    file: 'crates/dirtyrate/src/dirty_memory/memory.rs',
    find: 'block.logging.then(||',
    replace: 'false.then(||',
    test: 'foreign_hazards',
  },
  {
    name: 'list the memory of all blocks at each new one',
    file: `crates/dirtyrate-machine/src/vm/block_layout.rs`,
    find: 'self.blocks.insert(info.guest_address, LaidOut { info, region });',
    replace:
      'self.blocks.insert(info.guest_address, LaidOut { info, region });\n        self.memory();',
    test: 'many_blocks',
  },
]
