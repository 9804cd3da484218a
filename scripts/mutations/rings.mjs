// Breaks of what the rings do after a loss, and of what looks after them.

export default [
  {
    name: 'leave unprotected what an overrun wrote over, when RESET counts what it should',
    file: 'crates/dirtyrate/src/kvm/dirty_ring/rings.rs',
    find: 'self.unprotected |= harvest.lost > 0 || harvest.at_limit;',
    replace: '',
    test: 'dirty_ring::model_tests',
  },
]
