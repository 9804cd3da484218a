// Breaks of the VM around the logs: its vCPUs, its memory slots, its kernel.

export default [
  {
    name: 'do not tell anybody of the end of a VM',
    file: 'crates/dirtyrate-machine/src/vcpu/shared.rs',
    find: '        calls.into_iter().for_each(|call| call());\n',
    replace: '        drop(calls);\n',
    test: 'life',
  },
  {
    name: 'never signal a vCPU',
    file: 'crates/dirtyrate-machine/src/vcpu/kick.rs',
    find: 'let errno = unsafe { libc::pthread_kill(thread, signal) };',
    replace: 'let errno = { let _ = (thread, signal); 0 };',
    test: 'life',
  },
  {
    name: 'a pause does not wait',
    file: 'crates/dirtyrate-machine/src/vcpu/shared.rs',
    find: 'let waited = self.wait_parked(lock(&self.state)).map(',
    replace: 'let waited = Ok::<_, Error>(lock(&self.state)).map(',
    test: 'life',
  },
  {
    name: 'wait for a pause that was overruled',
    file: 'crates/dirtyrate-machine/src/vcpu/shared.rs',
    find: 'if state.may_run() { None } else { state.first(At::Inside) }',
    replace: 'state.first(At::Inside)',
    test: 'life',
  },
  {
    name: 'load without marking the pages',
    file: 'crates/dirtyrate-machine/src/vm/mod.rs',
    find: 'self.lock_dirty_bits().mark_host_write(guest_address, bytes.len() as u64);',
    replace: '',
    test: 'life',
  },
  {
    name: 'leave BSS as it is',
    file: 'crates/dirtyrate-machine/src/boot/elf.rs',
    find: 'plan.zero(segment.p_paddr + segment.p_filesz, rest);',
    replace: 'let _ = rest;',
    test: 'life',
  },
  {
    name: 'mark a block that came after the write',
    file: 'crates/dirtyrate-machine/src/vm/mod.rs',
    find: 'let memory = layout.memory();\n        if !memory',
    replace: 'let memory = layout.memory();\n        drop(layout);\n        if !memory',
    test: 'concurrent_use',
  },
  {
    name: 'a hold does not kick',
    file: 'crates/dirtyrate-machine/src/vcpu/shared.rs',
    find: '        self.0.kick();\n',
    replace: '',
    test: 'dirtyrate-machine loom_models',
  },
  {
    name: 'forget a kick on the way into KVM_RUN',
    file: 'crates/dirtyrate-machine/src/vcpu/shared.rs',
    find: 'self.kicks[vcpu].clear();',
    replace: 'drop(state); self.kicks[vcpu].clear();',
    test: 'dirtyrate-machine loom_models',
  },
]
