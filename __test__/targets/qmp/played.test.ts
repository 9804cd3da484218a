/** Versions of QEMU that are not at hand, and monitors that fail at a certain moment. */

import { describe, expect, it, onTestFinished } from 'vitest'
import { openTarget } from '../../../ts/index.js'
import { Monitor } from '../../../ts/targets/qmp/monitor.js'
import { QmpTarget } from '../../../ts/targets/qmp/qmp-target.js'
import { dirtyrate } from '../../fixtures/command.js'
import { type Fault, type Played, PlayedQemu, Refusal } from '../../fixtures/played-qemu.js'

const MIB = 2 ** 20

const withVcpus = (...vcpus: object[]): object => ({
  status: 'measured',
  'dirty-rate': 1,
  'calc-time': 50,
  'vcpu-dirty-rate': vcpus,
})
/** The statistics of one vCPU, whose value of `exits` a sum must not have twice. */
const vcpuStats = { 'qom-path': '/machine/vcpu', stats: [{ name: 'exits', value: 1 }] }

async function opened(played: Played = {}): Promise<{ qemu: PlayedQemu; target: QmpTarget }> {
  const qemu = await PlayedQemu.start(played)
  const target = await openTarget(`qmp:${qemu.path}`)
  onTestFinished(() => target.close())
  return { qemu, target }
}

describe('a QEMU without calc-time-unit', () => {
  it.each([
    [7, 2, 22],
    [8, 1, 5],
  ] as const)('%d.%d measures whole seconds', async (...version) => {
    const { qemu, target } = await opened({ version })
    const measured = await target.measureDirtyRate({ window: '1s' })
    expect(qemu.jobs).toEqual([{ 'calc-time': 1, 'sample-pages': 512, mode: 'page-sampling' }])
    expect(measured).toMatchObject({
      bytesPerSecond: 100 * MIB,
      window: { requestedMs: 1000, ns: 1e9 },
      qapi: {
        status: 'measured',
        'dirty-rate': 100,
        'calc-time': 1000,
        'calc-time-unit': 'millisecond',
        'sample-pages': 512,
        'start-time': Math.floor(Date.parse(measured.startedAt) / 1000),
      },
    })
    await expect(target.measureDirtyRate({ window: '1500ms' })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: `window: QEMU ${version.join('.')} measures whole seconds, and not 1500 ms`,
    })
    expect(qemu.jobs).toHaveLength(1)
  })

  it('is the last one before 8.2', async () => {
    const { qemu, target } = await opened({ version: [8, 2, 0] })
    await target.measureDirtyRate({ window: '60ms', mode: 'dirty-bitmap' })
    expect(qemu.jobs).toEqual([
      { 'calc-time': 60, 'calc-time-unit': 'millisecond', mode: 'dirty-bitmap' },
    ])
  })
})

describe('a mode that is known to do harm', () => {
  it.each([
    [[7, 2, 22], 'crashes'],
    [[8, 0, 0], 'reads 0'],
  ] as const)(
    'is refused by QEMU %j without KVM, before anything is sent',
    async (version, what) => {
      const { qemu, target } = await opened({ version, kvm: false })
      await expect(target.measureDirtyRate({ mode: 'dirty-bitmap' })).rejects.toMatchObject({
        code: 'ERR_UNSAFE_MODE',
        message: expect.stringContaining(what),
      })
      expect(qemu.jobs).toEqual([])
      const forced = await openTarget(`qmp:${qemu.path}`, { force: true })
      expect(forced.uri).toBe(`qmp:${qemu.path},force=on`)
      await forced.measureDirtyRate({ mode: 'dirty-bitmap', window: '1s' })
      expect(qemu.jobs).toHaveLength(1)
    },
  )
})

it('a program that speaks QMP and runs no VM is recognised', async () => {
  const notFound = (): Refusal =>
    new Refusal('The command query-kvm has not been found', 'CommandNotFound')
  const qemu = await PlayedQemu.start({ answers: { 'query-kvm': notFound } })
  await expect(openTarget(`qmp:${qemu.path}`)).rejects.toMatchObject({
    code: 'ERR_QMP_PROTOCOL',
    message: expect.stringContaining('does not know query-kvm'),
  })
})

it('a monitor that refuses a command is not taken for one that does not know it', async () => {
  const busy = (): Refusal => new Refusal('KVM is busy')
  const qemu = await PlayedQemu.start({ answers: { 'query-kvm': busy } })
  await expect(openTarget(`qmp:${qemu.path}`)).rejects.toMatchObject({
    code: 'ERR_QMP_PROTOCOL',
    message: expect.stringMatching(/refuses query-kvm: KVM is busy$/),
  })
})

describe('a call that is ended', () => {
  it('leaves the monitor alone: an abort while it opens', async () => {
    const { qemu } = await opened()
    qemu.fail('query-status', () => {})
    const controller = new AbortController()
    const opening = openTarget(`qmp:${qemu.path}`, { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 100)
    await expect(opening).rejects.toThrow('enough')
    await expect.poll(() => qemu.clients).toBe(0)
  })

  it('leaves the monitor alone: close() within a window, and while others wait', async () => {
    const { qemu, target } = await opened()
    const measured = [5000, 200].map(window =>
      expect(target.measureDirtyRate({ window })).rejects.toMatchObject({ code: 'ERR_CLOSED' }),
    )
    await expect.poll(() => qemu.jobs).toHaveLength(1)
    await target.close()
    await Promise.all(measured)
    await expect.poll(() => qemu.clients).toBe(0)
    expect(qemu.jobs).toHaveLength(1)
    await expect(target.measureDirtyRate()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    await expect(target.describe()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
  })
})

describe('dirty rings', () => {
  it.each([
    [true, 'KVM emulates the guests of this host'],
    [undefined, 'nobody here can see whether KVM emulates'],
  ])('are refused unless KVM is known not to emulate its guests: %s', async (emulated, why) => {
    const qemu = await PlayedQemu.start()
    const monitor = new Monitor({ path: qemu.path })
    const target = new QmpTarget({ monitor, force: false, emulated })
    await expect(target.measureDirtyRate({ mode: 'dirty-ring' })).rejects.toMatchObject({
      code: 'ERR_UNSAFE_MODE',
      message: expect.stringContaining(why),
    })
    expect(qemu.jobs).toEqual([])
    const hardware = new QmpTarget({ monitor, force: false, emulated: false })
    await hardware.measureDirtyRate({ mode: 'dirty-ring', window: 50 })
    expect(qemu.jobs).toHaveLength(1)
  })
})

describe('an answer of QEMU', () => {
  /** What a job of 100 ms has measured, when its window has passed. */
  const answering = (info: object): Played => {
    let endsAt = 0
    const job = {
      'sample-pages': 512,
      mode: 'page-sampling',
      'calc-time': 100,
      'calc-time-unit': 'millisecond',
      'start-time': 1,
    }
    return {
      answers: {
        'calc-dirty-rate': () => {
          endsAt = Date.now() + 100
          return {}
        },
        'query-dirty-rate': () =>
          Date.now() < endsAt
            ? { ...job, status: 'measuring' }
            : { ...job, status: 'measured', 'dirty-rate': 1, ...info },
      },
    }
  }
  it.each([
    ['a rate of -1, which means that it failed', { 'dirty-rate': -1 }, 'ERR_STATE'],
    ['no rate', { 'dirty-rate': undefined }, 'ERR_STATE'],
    ["another client's mode", { mode: 'dirty-bitmap' }, 'ERR_MEASURING'],
    ["another client's samples", { 'sample-pages': 1024 }, 'ERR_MEASURING'],
    ["another client's window", { 'calc-time': 50 }, 'ERR_MEASURING'],
    ['a window that has not passed', { 'calc-time': 999_999 }, 'ERR_MEASURING'],
  ])('is not taken for ours with %s', async (_, info, code) => {
    const { target } = await opened(answering(info))
    await expect(target.measureDirtyRate({ window: 100 })).rejects.toMatchObject({ code })
    expect(target.history).toEqual([])
  })

  it.each([
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 'lots' }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 1e300 }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 1, 'calc-time': '100' }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 1, 'vcpu-dirty-rate': [{}] }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 2 ** 34, 'calc-time': 50 }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 1, 'calc-time': 10 ** 13 }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 1, 'calc-time': -50 }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 1.5, 'calc-time': 50 }],
    ['query-dirty-rate', { status: 'measured', 'dirty-rate': 1 }],
    ['query-dirty-rate', withVcpus({ id: 0, 'dirty-rate': -1 })],
    ['query-dirty-rate', withVcpus({ id: 0, 'dirty-rate': 1 }, { id: 0, 'dirty-rate': 1 })],
    ['query-dirty-rate', { status: 'done' }],
    ['query-dirty-rate', 'measured'],
    ['query-dirty-rate', null],
    ['query-status', { running: 'yes' }],
    ['query-status', []],
    ['query-kvm', {}],
    ['query-memory-size-summary', { 'base-memory': '1 GiB' }],
    ['query-memory-size-summary', { 'base-memory': -1 }],
    ['query-memory-size-summary', { 'base-memory': 0 }],
    ['query-memory-size-summary', { 'base-memory': 2 ** 60 }],
    ['query-memory-size-summary', { 'base-memory': 2 ** 30, 'plugged-memory': '0' }],
    ['query-migrate', []],
    ['query-migrate', 'active'],
    ['query-migrate', { status: true }],
    ['query-migrate', { status: 'completed', ram: 'all' }],
    ['query-cpus-fast', {}],
    ['query-cpus-fast', [null]],
    ['query-cpus-fast', [{ 'cpu-index': 0 }, { 'cpu-index': 0 }]],
  ])('is refused if it has another form than the answer of %s: %j', async (query, answer) => {
    const qemu = await PlayedQemu.start({ answers: { [query]: () => answer } })
    const measured = openTarget(`qmp:${qemu.path}`).then(target => {
      onTestFinished(() => target.close())
      return target.measureDirtyRate({ window: 50 })
    })
    await expect(measured).rejects.toMatchObject({
      code: 'ERR_QMP_PROTOCOL',
      message: expect.stringContaining(`the answer to ${query} is none of a QEMU`),
    })
  })

  // KVM's statistics are asked for only where KVM does not emulate the guest.
  it.each([
    [{ vcpus: [] }],
    [[null]],
    [[{ stats: [null] }]],
    [[{ stats: [{ name: 'exits', value: -1 }] }]],
    [[{ stats: [{ name: 'exits', value: 1e300 }] }]],
    [[vcpuStats, vcpuStats]],
  ])('is refused if it has another form than the answer of query-stats: %j', async answer => {
    const qemu = await PlayedQemu.start({ answers: { 'query-stats': () => answer } })
    const monitor = new Monitor({ path: qemu.path })
    const target = new QmpTarget({ monitor, force: false, emulated: false })
    onTestFinished(() => target.close())
    await expect(target.measureDirtyRate({ window: 50 })).rejects.toMatchObject({
      code: 'ERR_QMP_PROTOCOL',
      message: expect.stringContaining('the answer to query-stats is none of a QEMU'),
    })
    expect(qemu.jobs).toEqual([])
  })

  it('has a rate of each vCPU in mode dirty-ring, each rounded down', async () => {
    const { qemu } = await opened(
      answering({
        mode: 'dirty-ring',
        'sample-pages': 0,
        'dirty-rate': 7,
        'vcpu-dirty-rate': [
          { id: 0, 'dirty-rate': 3 },
          { id: 1, 'dirty-rate': 4 },
        ],
      }),
    )
    const target = await openTarget(`qmp:${qemu.path},force=on`)
    const measured = await target.measureDirtyRate({ mode: 'dirty-ring', window: 100 })
    expect(measured).toMatchObject({
      interval: { low: 7 * MIB, high: 9 * MIB, confidence: 1 },
      vcpus: [
        { id: 0, bytesPerSecond: 3 * MIB },
        { id: 1, bytesPerSecond: 4 * MIB },
      ],
    })
    const words = ['calc', target.uri, '--mode', 'dirty-ring', '--window', '100ms']
    expect((await dirtyrate(words)).stdout).toContain('4.0 MiB/s')
  })

  it('that nothing has started is no error right after the start', async () => {
    let looks = 0
    const measured = answering({}).answers?.['query-dirty-rate']
    const { target } = await opened({
      answers: {
        'query-dirty-rate': args =>
          looks++ < 3
            ? { status: 'unstarted', 'sample-pages': 0, mode: 'page-sampling', 'calc-time': 0 }
            : measured?.(args),
      },
    })
    expect(await target.measureDirtyRate({ window: 100 })).toMatchObject({ bytesPerSecond: MIB })
    expect(looks).toBe(4)
  })

  it('about a migration that began and ended between two looks is noticed', async () => {
    let asked = 0
    const { target } = await opened({
      answers: {
        'query-migrate': () =>
          asked++ < 2 ? { status: 'completed', 'total-time': 5 } : { status: 'cancelled' },
      },
    })
    await expect(target.measureDirtyRate({ window: 100 })).rejects.toMatchObject({
      code: 'ERR_MIGRATING',
      details: { status: 'cancelled' },
    })
  })

  it('that a mode is not enabled is a mode that the VM does not have', async () => {
    const refusal = 'mode dirty-bitmap is not enabled, use other method instead.'
    const { target } = await opened({ answers: { 'calc-dirty-rate': () => new Refusal(refusal) } })
    await expect(target.measureDirtyRate({ mode: 'dirty-bitmap' })).rejects.toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
    })
  })

  it.each([
    ['before any migration', {}, undefined],
    ['none', { status: 'none' }, undefined],
    ['setup', { status: 'setup' }, { status: 'setup', underWay: true }],
    [
      'on the destination',
      { status: 'active', 'socket-address': [] },
      { status: 'active', underWay: true },
    ],
    ['cancelled', { status: 'cancelled' }, { status: 'cancelled', underWay: false }],
    ['colo', { status: 'colo' }, { status: 'colo', underWay: true }],
    [
      'active, figures of RAM in `ram`',
      {
        status: 'active',
        'total-time': 2097,
        'expected-downtime': 20,
        ram: {
          'dirty-sync-count': 2,
          'page-size': 4096,
          remaining: 103_813_120,
          transferred: 107_576_029,
          'dirty-pages-rate': 12_409,
        },
      },
      {
        status: 'active',
        underWay: true,
        elapsedMs: 2097,
        remainingBytes: 103_813_120,
        transferredBytes: 107_576_029,
        passes: 2,
        dirtyPagesPerSecond: 12_409,
        pageSize: 4096,
        expectedDowntimeMs: 20,
      },
    ],
    [
      'active, the sum of all devices beside `ram`',
      { status: 'active', remaining: 5, transferred: 6, ram: { 'dirty-sync-count': 1 } },
      { status: 'active', underWay: true, remainingBytes: 5, transferredBytes: 6, passes: 1 },
    ],
  ])('about a migration is understood: %s', async (_, answer, migration) => {
    const { qemu, target } = await opened({ answers: { 'query-migrate': () => answer } })
    expect((await target.describe()).migration).toEqual(
      migration === undefined ? undefined : expect.objectContaining(migration),
    )
    const measured = target.measureDirtyRate({ window: 50 })
    if (migration?.underWay === false || migration === undefined) await measured
    else {
      await expect(measured).rejects.toMatchObject({
        code: 'ERR_MIGRATING',
        details: { status: migration.status },
      })
      expect(qemu.jobs).toEqual([])
    }
  })
})

describe("KVM's statistics", () => {
  /** The target on a host whose KVM does not emulate its guests. */
  const hardware = ({ path }: PlayedQemu): QmpTarget =>
    new QmpTarget({ monitor: new Monitor({ path }), force: false, emulated: false })
  const counting = (
    names: Readonly<Record<string, number>>,
  ): Pick<Played, 'answers' | 'version'> => {
    let asked = 0
    const stats = (): object[] => {
      asked++
      return Object.entries(names).map(([name, step]) => ({ name, value: 1000 + step * asked }))
    }
    return {
      answers: {
        'query-stats': () => {
          const of = stats()
          return [0, 1].map(vcpu => ({ provider: 'kvm', 'qom-path': `/${vcpu}`, stats: of }))
        },
      },
    }
  }
  it('are what a measurement cost the guest, of all vCPUs together', async () => {
    const { qemu } = await opened(counting({ exits: 50, pf_taken: 20, tlb_flush: 0 }))
    const target = hardware(qemu)
    const { cost } = await target.measureDirtyRate({ window: 200 })
    const { before, during, after } = cost?.guest ?? {}
    for (const activity of [before, during, after]) {
      expect(Object.keys(activity ?? {})).toEqual(['exitsPerSecond', 'pageFaultsPerSecond'])
      // Two vCPUs, in 100 ms and in 200 ms at least: never more than that. A timer of Node may fire
      // 1 ms early.
      expect(activity?.exitsPerSecond).toBeLessThanOrEqual(100 / 0.099)
      expect(activity?.pageFaultsPerSecond).toBeLessThanOrEqual(40 / 0.099)
      expect(activity?.exitsPerSecond).toBeGreaterThan(0)
    }
  })

  it('are once for all windows of a curve, and for each window of a watch', async () => {
    const { qemu } = await opened(counting({ exits: 50, pf_taken: 20, tlb_flush: 0 }))
    const target = hardware(qemu)
    const curve = await target.measureDirtyCurve({ windows: [50, 60] })
    const figures = ['exitsPerSecond', 'pageFaultsPerSecond']
    const { before, during, after } = curve.cost?.guest ?? {}
    for (const activity of [before, during, after])
      expect(Object.keys(activity ?? {})).toEqual(figures)
    // The counters move once in each window and beside it, and two windows have no time between
    // them that counts.
    expect(during?.exitsPerSecond).toBeLessThanOrEqual((2 * 100) / 0.109)
    const { cost } = await target.measureDirtyCurve({ windows: [50], repeat: 2 })
    expect(Object.keys(cost?.guest ?? {})).toEqual(['before', 'during'])
    const windows: unknown[] = []
    for await (const { cost } of target.watchDirtyRate({ every: 50 })) {
      expect(Object.keys(cost?.guest ?? {})).toEqual(['before', 'during'])
      expect(Object.keys(cost?.guest?.during ?? {})).toEqual(figures)
      windows.push(cost?.guest?.before)
      if (windows.length === 2) break
    }
    expect(windows[0]).toEqual(windows[1])
  })

  it.each([
    ['have not moved', counting({ exits: 0 })],
    ['are not there', {}],
  ])('that %s are absent', async (_, played) => {
    const { qemu } = await opened(played)
    const target = hardware(qemu)
    expect(await target.measureDirtyRate({ window: 50 })).not.toHaveProperty('cost')
  })
})

const dies: Fault = (_, qemu) => qemu.die()
const drops: Fault = (_, qemu) => qemu.drop()
const restarts: Fault = (_, qemu) => qemu.restart()
const stalls: Fault = () => {}
const isAnother: Fault = client => client.write('HTTP/1.1 400 Bad Request\r\n\r\n')

/** What is asked for before a job, and from its start on. */
const BEFORE = ['greeting', 'qmp_capabilities', 'query-kvm', 'query-status', 'query-migrate']
const FROM_START = ['calc-dirty-rate', 'query-dirty-rate']

it('a figure of a migration that is no count is left out', async () => {
  const ram = { remaining: -1, transferred: '5', 'dirty-sync-count': 1.5, 'page-size': 4096 }
  const migrate = { status: 'completed', 'total-time': 1e300, downtime: 54, ram }
  const { target } = await opened({ answers: { 'query-migrate': () => migrate } })
  expect((await target.describe()).migration).toEqual({
    status: 'completed',
    underWay: false,
    downtimeMs: 54,
    pageSize: 4096,
  })
})

/** How a measurement ends whose monitor has a fault at one command. */
async function failing(phase: string, fault: Fault): Promise<unknown> {
  const { qemu, target } = await opened()
  qemu.fail(phase, fault)
  return target.measureDirtyRate({ window: 100 }).then(
    () => 'measured',
    error => error,
  )
}

describe('a monitor that fails', () => {
  it.each([...BEFORE, ...FROM_START])('because its QEMU dies at %s is gone', async phase => {
    expect(await failing(phase, dies)).toMatchObject({ code: 'ERR_TARGET_GONE' })
  })

  it('because its QEMU dies between two commands is gone', async () => {
    const { qemu, target } = await opened()
    const measured = expect(target.measureDirtyRate({ window: 1000 })).rejects.toMatchObject({
      code: 'ERR_TARGET_GONE',
    })
    await expect.poll(() => qemu.jobs).toHaveLength(1)
    qemu.die()
    await measured
  })

  it.each([...BEFORE, ...FROM_START])('as another program at %s speaks no QMP', async phase => {
    expect(await failing(phase, isAnother)).toMatchObject({ code: 'ERR_QMP_PROTOCOL' })
  })

  it('by standing still is given up after a bounded time', { timeout: 40_000 }, async () => {
    const phases = [...BEFORE, ...FROM_START]
    const ends = await Promise.all(phases.map(phase => failing(phase, stalls)))
    const codes = ends.map(end => (end as { code?: string }).code)
    expect(codes).toEqual(['ERR_QMP_PROTOCOL', ...phases.slice(1).map(() => 'ERR_TARGET_TIMEOUT')])
  })

  it('only by dropping its client is asked again, and the job goes on', async () => {
    for (const phase of ['query-kvm', 'query-migrate', 'query-dirty-rate'])
      expect(await failing(phase, drops)).toBe('measured')
    // Nobody knows whether QEMU has the command, so it is not sent twice.
    expect(await failing('calc-dirty-rate', drops)).toMatchObject({ code: 'ERR_TARGET_GONE' })
  })

  it('by a restart of its QEMU says so', { timeout: 20_000 }, async () => {
    expect(await failing('query-dirty-rate', restarts)).toMatchObject({
      code: 'ERR_TARGET_GONE',
      message: expect.stringContaining('started again within the window'),
    })
  })
})
