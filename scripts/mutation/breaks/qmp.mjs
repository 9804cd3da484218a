// Breaks of the targets that QEMU measures: what its answers mean, what is refused, and how its
// monitor and its one job are shared.

const PLAYED = '__test__/targets/qmp/played.test.ts'
const SHARING = '__test__/targets/qmp/sharing.test.ts'

export default [
  {
    name: 'a mode that harms the VM is not refused',
    file: 'ts/targets/qemu/safety.ts',
    find: 'const why = wanted.force ? undefined : harm(facts, wanted)',
    replace: 'const why = wanted.force ? harm(facts, wanted) : undefined',
    test: `${PLAYED} -t before anything is sent`,
  },
  {
    name: 'a VM is measured while it migrates',
    file: 'ts/targets/qemu/safety.ts',
    find: 'facts.migration?.underWay === true',
    replace: 'facts.migration?.underWay === true && wanted.force',
    test: `${PLAYED} -t about a migration`,
  },
  {
    name: 'a migration that begins within the window is not noticed',
    file: 'ts/targets/qemu/jobs.ts',
    find: '      await watch.check?.(job)\n',
    replace: '',
    test: '__test__/targets/qmp/migrating.test.ts',
  },
  {
    name: 'a pause within the window is not noticed',
    file: 'ts/targets/qmp/job-access.ts',
    find: 'if (this.#stopped || running === false)',
    replace: 'if (running === false)',
    test: `${SHARING} -t paused meanwhile`,
  },
  {
    name: "a rate of QEMU's is taken for exact",
    file: 'ts/targets/qemu/figures.ts',
    find: 'high: rate + MIB, confidence',
    replace: 'high: rate, confidence',
    test: '__test__/targets/qemu/figures.test.ts',
  },
  {
    name: 'the interval of samples forgets the rounding',
    file: 'ts/targets/qemu/figures.ts',
    find: 'high: end(high).high * most',
    replace: 'high: end(low).high * most',
    test: '__test__/targets/qemu/figures.test.ts',
  },
  {
    name: "another client's result is taken for ours",
    file: 'ts/targets/qemu/jobs.ts',
    find: 'if (!isOurs)',
    replace: 'if (isOurs && startedAt.getTime() < 0)',
    test: `${PLAYED} -t is not taken for ours`,
  },
  {
    name: 'an old QEMU is asked for milliseconds',
    file: 'ts/targets/qemu/version.ts',
    find: 'version.major > major ||',
    replace: 'version.major >= 7 ||',
    test: `${PLAYED} -t measures whole seconds`,
  },
  {
    name: "the measurements of a target get in each other's way",
    file: 'ts/targets/qemu/jobs.ts',
    find: '    await abortable(before, signal)\n',
    replace: '',
    test: `${SHARING} -t several things at once`,
  },
  {
    name: 'each use of a monitor has a connection of its own',
    file: 'ts/targets/qmp/monitor.ts',
    find: 'if (this.#opened !== undefined && this.#connection?.closed !== true) return this.#opened\n',
    replace: '',
    test: `${SHARING} -t several things at once`,
  },
  {
    name: 'a job that an abort left is not waited for',
    file: 'ts/targets/qemu/jobs.ts',
    find: 'if (this.#abandoned) await',
    replace: 'if (signal.aborted) await',
    test: `${SHARING} -t whose end the next one waits`,
  },
  {
    name: 'a client that left the queue keeps the next one out',
    file: 'ts/qmp/greeting.ts',
    find: 'if (!isQueueFull(error) ||',
    replace: 'if (isQueueFull(error) ||',
    test: `${SHARING} -t is busy`,
  },
  {
    name: 'a monitor that dropped its client is not asked again',
    file: 'ts/targets/qmp/monitor.ts',
    find: "if (!hasCode(error, 'ERR_TARGET_GONE')) throw error",
    replace: "if (hasCode(error, 'ERR_TARGET_GONE')) throw error",
    test: `${PLAYED} -t only by dropping its client`,
  },
  {
    name: 'a QEMU that was started again is waited for',
    file: 'ts/targets/qemu/jobs.ts',
    find: "if (info?.status === 'unstarted' && waited > UNSTARTED_MS) throw vm.forgotten()\n",
    replace: '',
    test: `${PLAYED} -t by a restart of its QEMU`,
  },
  {
    name: "the socket of libvirt's is opened",
    file: 'ts/targets/qmp/scheme.ts',
    find: '    refuseLibvirts(address)\n',
    replace: '',
    test: '__test__/targets/qmp/address.test.ts -t is never opened',
  },
  {
    name: 'a counter that counts nothing is a cost of 0',
    file: 'ts/targets/kvm-statistics.ts',
    find: '(delta([before[0], after[1]], known) ?? 0) > 0',
    replace: '(delta([before[0], after[1]], known) ?? 0) >= 0',
    test: `${PLAYED} -t have not moved`,
  },
  {
    name: 'a curve has pages that nobody has counted',
    file: 'ts/measurement/curve.ts',
    find: '...(pages === undefined ? {} : { pages }),',
    replace: 'pages: pages ?? 0,',
    test: '__test__/targets/qmp/measuring.test.ts -t without pages',
  },
  {
    name: 'a target takes an option of sampling and ignores it',
    file: 'ts/measurement/mode.ts',
    find: '    refuseIgnored(options, source.ignoredSampling)\n',
    replace: '',
    test: `${SHARING} -t that QEMU has no use for`,
  },
]
