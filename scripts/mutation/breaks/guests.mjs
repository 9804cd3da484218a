// Breaks of the built-in guests: what they write, and how fast.

const X86_GUEST = 'crates/dirtyrate-machine/src/workload/x86_64/guest.s'
const CLOCK = 'crates/dirtyrate-machine/src/workload/clock.rs'

export default [
  {
    name: 'a guest makes up for all the time in which it did not run',
    file: X86_GUEST,
    find: '    jg 26f\n',
    replace: '    jg 28f\n',
    test: 'paced_by_clock',
  },
  {
    name: 'a guest makes up for nothing',
    file: X86_GUEST,
    find: '    movq {clock_most}(%r12), %rcx\n',
    replace: '    movl $1, %ecx\n',
    test: 'paced_by_clock',
  },
  {
    name: 'a guest does not look at its clock',
    file: X86_GUEST,
    find: 'cmpq $0, {clock_scale}(%r12)\n',
    replace: 'testl $0, %eax\n',
    test: 'paced_by_clock',
  },
  {
    name: 'a guest takes half of the ticks that KVM says for its frequency',
    file: X86_GUEST,
    find: '    shlq %cl, %rax\n',
    replace: '    shlq %cl, %rax\n    shrq %rax\n',
    test: "__test__/paced-by-clock.test.ts -t KVM's clock",
  },
  {
    name: 'a guest takes another frequency for the timer',
    file: X86_GUEST,
    find: 'timer_hertz}, %eax\n',
    replace: 'timer_run}, %eax\n',
    test: "__test__/paced-by-clock.test.ts -t PC's timer",
  },
  {
    name: 'each vCPU has the whole rate',
    file: CLOCK,
    find: ' / u128::from(vcpus);',
    replace: ' / u128::from(vcpus.min(1));',
    test: 'dirtyrate-machine workload::clock',
  },
  {
    name: 'a machine does not tell its guest how fast its clock runs',
    file: 'crates/dirtyrate-machine/src/workload/image.rs',
    find: 'store(map.base + HEADER_TICKS, clock.ticks_per_second.unwrap_or(0));',
    replace: 'store(map.base + HEADER_TICKS, 0);',
    test: 'dirtyrate-machine workload::image',
  },
  {
    name: 'a guest in a file waits for a host that paces it',
    file: 'ts/targets/vm/workload.ts',
    find: '{ ...guest, ...byClock(bytesPerSecond) }',
    replace: 'guest',
    test: '__test__/cli/command.test.ts -t every option that a target has',
  },
  {
    name: 'a target does not say that its guest is paced by its clock',
    file: 'ts/targets/vm/images.ts',
    find: "options.push(['pacing', 'clock'])",
    replace: 'options.push()',
    test: '__test__/targets/vm/images.test.ts -t every workload',
  },
]
