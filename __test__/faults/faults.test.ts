/**
 * Makes each call of the kernel fail with each errno that it can have, once and from then on.
 * Nothing may hang, no figure may be wrong, each error must say what to do, and close() must
 * return.
 */

import { constants } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { errorCodes } from '../../ts/index.js'
import { cli, run } from '../fixtures/command.js'
import { describeKvm, full } from '../fixtures/kvm.js'
import { missing } from '../fixtures/modes.js'
import { allFaults, type Fault, fewFaults, ioctls } from './cases.js'
import { callsMade, type Life, Lives, type Outcome, Shim } from './process.js'

const { EAGAIN, EBUSY, EMFILE, ENOMEM, EPERM } = constants.errno

/**
 * The VM's own bound is ten seconds for each step that waits for a vCPU; a life has eight steps.
 */
const PATIENCE = 120_000

const kinds: Pick<Life, 'log' | 'mode' | 'rate'>[] = [
  { log: 'bitmap', mode: 'auto', rate: '4MiB/s' },
  ...(missing('dirty-ring') === undefined ? [{ log: 'ring', mode: 'auto' } as const] : []),
  { log: 'bitmap', mode: 'page-sampling', rate: '4MiB/s' },
]

const errnoName = (errno: number): string =>
  Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? String(errno)

function describeFault({ call, number, errno, at, times }: Fault): string {
  const name =
    Object.entries(ioctls).find(([, of]) => call === 'ioctl' && of === number)?.[0] ?? call
  return `${name} ${errnoName(errno)} at ${at} ${times === 0 ? 'for ever' : `times ${times}`}`
}

/** What is wrong with an outcome; nothing, if all is as it must be. */
function faultsOf(outcome: Outcome, mode: Life['mode']): string[] {
  const wrong: string[] = []
  for (const { step, name, code, message, hint, details } of outcome.errors) {
    const text = `${step}: ${name} ${code}: ${message}`
    const aborted = name === 'TimeoutError'
    if (aborted) continue
    if (name !== 'DirtyRateError' || !errorCodes.includes(code as never))
      wrong.push(`no code: ${text}`)
    if (!message || !hint || !/^[A-Z].*[.)]$/.test(hint))
      wrong.push(`no message or hint: ${text}: ${hint}`)
    if (code === 'ERR_INTERNAL') wrong.push(`a defect: ${text}`)
    if (code === 'ERR_LIMIT' && typeof details?.limit !== 'string') wrong.push(`no limit: ${text}`)
    if (step === 'close' && code !== 'ERR_VCPU_STUCK' && code !== 'ERR_LIMIT')
      wrong.push(`close fails: ${text}`)
  }
  for (const { pages, complete, truth } of outcome.results) {
    // An estimate may miss the truth: its interval says how often.
    if (mode === 'page-sampling') continue
    if (truth === undefined) wrong.push('a result without its truth')
    else if (complete && (pages < truth.low || pages > truth.high)) {
      wrong.push(`a wrong figure: ${pages} pages, and the truth is ${truth.low} to ${truth.high}`)
    } else if (pages > truth.high) wrong.push(`too many: ${pages} pages of ${truth.high}`)
  }
  // A vCPU that cannot be stopped goes on, and an error says so.
  const stuck = outcome.errors.some(({ step }) => step === 'close')
  if (!stuck && outcome.threads.length > 0) wrong.push(`still there: ${outcome.threads}`)
  return wrong
}

describeKvm('a call of the kernel that fails', () => {
  let shim: Shim
  let lives: Lives
  beforeAll(async () => {
    shim = await Shim.compiled()
    lives = new Lives(shim)
  })
  afterAll(() => {
    lives?.end()
    shim?.remove()
  })

  // What a user sees of it: the command ends by itself, says what to do, and its status says that
  // it is the machine.
  it.each<[string, Fault, string]>([
    [
      'another hypervisor',
      { call: 'ioctl', number: 0x01, errno: EBUSY, at: 1, times: 0 },
      'another hypervisor',
    ],
    [
      'a limit of threads for KVM',
      { call: 'ioctl', number: 0x80, errno: EAGAIN, at: 1, times: 0 },
      'ulimit -u',
    ],
    ['a limit of threads', { call: 'pthread_create', errno: EAGAIN, at: 1, times: 0 }, 'ulimit -u'],
    ['a limit of open files', { call: 'eventfd', errno: EMFILE, at: 1, times: 0 }, 'ulimit -n'],
    ['no memory for kvm_run', { call: 'mmap', errno: ENOMEM, at: 2, times: 0 }, 'ulimit -v'],
    [
      'no memory for a slot',
      { call: 'ioctl', number: 0x46, errno: ENOMEM, at: 1, times: 0 },
      'memory',
    ],
    ['a sandbox', { call: 'ioctl', number: 0x41, errno: EPERM, at: 1, times: 0 }, 'seccomp'],
    [
      'a device that is not given to a container',
      { call: 'open', errno: EPERM, at: 1, times: 0 },
      '--device /dev/kvm',
    ],
  ])('%s is the machine: status 3, and what to do', async (_, fault, expected) => {
    const args = [cli, 'calc', 'guest:stride,pages=100,memory=64MiB', '--window', '20ms']
    const { status, signal, stderr } = await run(process.execPath, args, {
      env: shim.environment(fault),
    })
    expect({ status, signal }).toEqual({ status: 3, signal: null })
    expect(stderr).toContain(expected)
    expect(stderr).toMatch(/^dirtyrate: .*\n[A-Z].*[.)]\n$/)
  })

  it('a kick that the kernel refuses does not keep a VM from its measurement, nor from its end', async () => {
    // As under `ulimit -i 0`: each real-time signal is refused, and no standard one is.
    const refused = `ulimit -i 0 && exec ${process.execPath} ${cli} calc guest:stride,pages=100,memory=64MiB --window 20ms`
    const { status, signal, stderr } = await run('bash', ['-c', refused])
    expect({ status, signal, stderr: stderr.includes('stuck') }).toEqual({
      status: 0,
      signal: null,
      stderr: false,
    })
  })

  it('the console of a VM that could not be started ends', async () => {
    // The binding's threads before the first vCPU's make the VM, load it, read the console, and
    // start it.
    for (const at of [5, 6]) {
      const fault = { call: 'pthread_create', errno: EAGAIN, at, times: 1 }
      const text = `
        import { VirtualMachine, workload } from 'dirtyrate'
        const vm = await VirtualMachine.create({ memory: '64MiB', vcpus: 2 })
        await vm.load(workload.stride({ pages: 100 }))
        const read = (async () => { for await (const _ of vm.console); })()
        await vm.start().catch(error => console.log(error.code))
        await read.catch(error => console.log(error.code))
        await vm.close()
        console.log('ended')`
      const ended = await run(process.execPath, ['--input-type=module', '--eval', text], {
        env: shim.environment(fault),
      })
      expect(ended).toMatchObject({ status: 0, signal: null, stderr: '' })
      expect(ended.stdout).toMatch(/^(ERR_LIMIT\n)+ended\n$/)
    }
  })

  const cases = full ? allFaults() : fewFaults()
  describe.each(kinds)('in the life of a VM with a $log, measured by $mode', kind => {
    it('is one that the cases know', async () => {
      const outcome = await lives.run({ ...kind, patienceMs: 20_000 }, PATIENCE)
      expect(outcome).toMatchObject({ errors: [], closed: true, threads: [] })
      expect(outcome.results).toHaveLength(3)
      expect(faultsOf(outcome, kind.mode)).toEqual([])
      expect(outcome.ioctls.filter(number => !Object.values(ioctls).includes(number))).toEqual([])
    })

    // One test for all of them: a name for each would be thousands.
    it(`leaves no hang, no wrong figure, no riddle: ${cases.length}`, {
      timeout: full ? 7_200_000 : 300_000,
    }, async () => {
      const live = (fault: Fault): Promise<Outcome> =>
        lives.run({ ...kind, patienceMs: 10_000, fault }, PATIENCE)
      const made = await callsMade(cases, live)
      const known = [`ioctl ${ioctls.KVM_CREATE_VM}`, `ioctl ${ioctls.KVM_RUN}`, 'pthread_create']
      expect(made.calls).toEqual(expect.arrayContaining(known))
      const wrong: string[] = []
      for (const fault of cases) {
        const name = describeFault(fault)
        try {
          const outcome = await live(fault)
          if (made.missed(fault, outcome)) wrong.push(`${name}: did not fail`)
          wrong.push(...faultsOf(outcome, kind.mode).map(what => `${name}: ${what}`))
        } catch (error) {
          wrong.push(`${name}: ${(error as Error).message}`)
        }
      }
      expect(wrong).toEqual([])
    })
  })
})
