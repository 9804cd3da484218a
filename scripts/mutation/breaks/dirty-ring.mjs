// Breaks of the dirty rings: the cursor, the harvest, the RESET.

export default [
  {
    name: 'let a vCPU pass its watermark',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/rings.rs',
    find: 'ring.cursor.is_dirty_at(&ring.ring, entries)',
    replace: '{ let _ = (ring, entries); false }',
    test: 'ring_hazards',
  },
  {
    name: 'never RESET the rings',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/rings.rs',
    find: 'expected == 0 || u64::from(slots.reset()?) == expected',
    replace: '{ let _ = &slots; expected < u64::MAX }',
    test: 'rings',
  },
  {
    name: 'do not look for what was written over',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/cursor.rs',
    find: 'if self.place == Place::InStep {\n            return None;',
    replace: 'if self.unreset() < u32::MAX {\n            return None;',
    test: 'rings',
  },
  {
    name: 'free a ring at one word of the kernel, after the first time',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/cursor.rs',
    find: '(self.place, self.starved) = (Place::Suspect, 0);',
    replace: 'self.place = Place::Suspect;',
    test: 'dirty_ring::model_tests',
  },
  {
    name: 'take it that RESET took what it should',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/cursor.rs',
    find: 'self.place = Place::Adrift;',
    replace: 'self.reset = self.next;',
    test: 'dirty_ring::model_tests',
  },
  {
    name: 'take a RESET that counts nothing for the place of a ring that is adrift',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/cursor.rs',
    find: '        if !self.is_adrift() {\n            self.reset = self.next;\n        }',
    replace: '        self.reset = self.next;',
    test: 'dirty_ring::model_tests',
  },
  {
    name: 'do not say that a vCPU came round',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/rings.rs',
    find: 'self.may_have_lost();\n        let slots',
    replace: 'let slots',
    test: 'dirty_ring::model_tests',
  },
  {
    name: 'let a signal end a RESET',
    file: 'crates/dirtyrate/src/kvm/signals.rs',
    find: 'let _mask = Mask::set(u64::MAX);',
    replace: 'let _mask = Mask::set(0);',
    test: 'signals::tests',
  },
  {
    name: 'leave unprotected what a RESET that ended early did',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/rings.rs',
    find: 'lock(&self.slots).protect_all()?;',
    replace: '',
    test: 'dirty_ring::model_tests',
  },
  {
    name: 'lose what a block had when its log went off',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/mod.rs',
    find: 'lock(&self.rings).set_in(block, into);',
    replace: 'if block.0 % 2 == 1 { lock(&self.rings).set_in(block, into); }',
    test: 'rings',
  },
  {
    name: 'close a window before its last harvest',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/mod.rs',
    find: 'rings.harvest_stopped()?;\n        rings.close_window()?;',
    replace: 'rings.close_window()?;\n        rings.harvest_stopped()?;',
    test: 'loom_models',
  },
  {
    name: 'draw an edge while the vCPUs run',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/mod.rs',
    find: '    hold(vcpus, || {\n        let closed',
    replace:
      '    fn open<T>(_: &dyn HoldVcpus, work: impl FnOnce() -> T) -> Result<T> { Ok(work()) }\n    open(vcpus, || {\n        let closed',
    test: 'loom_models',
  },
]
