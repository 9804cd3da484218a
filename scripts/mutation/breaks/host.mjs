// Breaks of what the host process relies on: kicks, limits, and the way out of each wait.

export default [
  {
    name: 'never kick by the second signal',
    file: 'crates/dirtyrate-machine/src/vcpu/kick_signals.rs',
    find: 'std::iter::once(self.first).chain(self.second)',
    replace: 'std::iter::once(self.first).chain(self.second.filter(|_| false))',
    test: '__test__/faults/faults.test.ts -t refuses',
  },
  {
    name: 'take every EAGAIN of KVM_RUN for one of a vCPU that waits for INIT',
    file: 'crates/dirtyrate-machine/src/vcpu/thread.rs',
    find: 'if self.refusals == 1 || waits || self.refusals < MOST_REFUSALS {',
    replace: 'if self.refusals == 1 || waits || self.refusals > 0 {',
    test: '__test__/faults/faults.test.ts -t threads',
  },
  {
    name: 'wait for a stuck vCPU for ever',
    file: 'crates/dirtyrate-machine/src/vcpu/shared.rs',
    find: 'if kicks >= MOST_KICKS {',
    replace: 'if kicks >= u32::MAX {',
    test: 'stuck_vcpus',
  },
  {
    name: 'leave a VM paused whose pause has failed',
    file: 'crates/dirtyrate-machine/src/vcpu/shared.rs',
    find: 'if was == RunState::Running {',
    replace: 'if was == RunState::Created {',
    test: 'stuck_vcpus',
  },
  {
    name: 'take a signal that the host waits for',
    file: 'crates/dirtyrate-machine/src/vcpu/kick_signals.rs',
    find: 'blocked & bit(number) == 0 && has_default_action(number)',
    replace: '{ let _ = (blocked, bit(number)); has_default_action(number) }',
    test: 'kick_signal',
  },
  {
    name: 'let a start that fails keep the console open',
    file: 'crates/dirtyrate-machine/src/vcpu/vcpus.rs',
    find: 'if last.fold(false, |any, last| any | last) {',
    replace: 'if last.fold(false, |any, last| any | last) && false {',
    test: '__test__/faults/faults.test.ts -t console',
  },
  {
    name: 'know no limit behind an errno',
    file: 'crates/dirtyrate/src/error/limit.rs',
    find: 'libc::EMFILE => Some(Self::OpenFiles),',
    replace: '',
    test: 'limit::tests',
  },
  {
    name: 'close on a new thread only',
    file: 'crates/dirtyrate-node/src/promise.rs',
    find: 'WithoutThread::RunHere => call(work),',
    replace: 'WithoutThread::RunHere => drop((call, work)),',
    test: '__test__/faults/faults.test.ts -t riddle',
  },
  {
    name: 'a circle of links is an unknown failure of open',
    file: 'crates/dirtyrate/src/kvm/capabilities.rs',
    find: 'libc::ELOOP =>',
    replace: 'libc::EXDEV =>',
    test: 'kvm::capabilities',
  },
]
