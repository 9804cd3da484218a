/**
 * What the commands say about results that are wrong or incomplete. A real KVM cannot be made to
 * give such results, so only the target is replaced here.
 */

import { expect, it, vi } from 'vitest'
import { runCalc } from '../../ts/cli/calc.js'
import { runCurve } from '../../ts/cli/curve.js'
import { runDemo } from '../../ts/cli/demo.js'
import { agrees } from '../../ts/cli/demo-text.js'
import { runWatch } from '../../ts/cli/watch.js'
import type { DirtyRateMeasurement } from '../../ts/qapi/info.js'
import { describeKvm } from '../fixtures/kvm.js'
import { inSession } from '../fixtures/session.js'

const opened = vi.hoisted(() => ({ measurement: {} as object, closed: 0 }))

vi.mock('../../ts/targets/open.js', async original => ({
  ...(await original<typeof import('../../ts/targets/open.js')>()),
  openTarget: async () => ({
    measureDirtyRate: async () => opened.measurement,
    measureDirtyCurve: async () => opened.measurement,
    watchDirtyRate: async function* () {
      yield opened.measurement
      yield opened.measurement
    },
    close: async () => {
      opened.closed++
    },
  }),
}))
vi.mock('../../ts/targets/vm/virtual-machine.js', () => ({
  VirtualMachine: {
    create: async () => ({
      load: async () => {},
      start: async () => {},
      measureDirtyRate: async ({ mode }: { mode: string }) => ({ ...opened.measurement, mode }),
      close: async () => {
        opened.closed++
      },
    }),
  },
}))

const MIB = 2 ** 20

function measurementOf(changes: Partial<DirtyRateMeasurement> = {}): DirtyRateMeasurement {
  return {
    schemaVersion: 1,
    target: 'guest:stride',
    mode: 'dirty-bitmap',
    startedAt: '2026-01-01T00:00:00.000Z',
    window: { requestedMs: 1000, ns: 1e9, skewNs: 0 },
    bytesPerSecond: 100 * MIB,
    interval: { low: 100 * MIB, high: 100 * MIB, confidence: 1 },
    pages: 25_600,
    pageSize: 4096,
    complete: true,
    warnings: [],
    qapi: {} as DirtyRateMeasurement['qapi'],
    truth: { low: 25_599, high: 25_601, pages: 25_600 } as NonNullable<
      DirtyRateMeasurement['truth']
    >,
    ...changes,
    // What a changed mode would have besides, no verdict depends on.
  } as DirtyRateMeasurement
}

const incomplete = measurementOf({
  complete: false,
  interval: { low: 100 * MIB, high: null, confidence: 1 },
  warnings: [{ code: 'RING_OVERRUN', message: 'entries were lost' }],
})
const curveOf = (complete: boolean): object => ({
  ...measurementOf(),
  complete,
  points: [
    {
      windowNs: 1e9,
      requestedMs: 1000,
      pages: 1,
      dirtyBytes: 4096,
      bytesPerSecond: 4096,
      interval: { low: 4096, high: null, confidence: 1 },
    },
  ],
})

it('an incomplete result ends with 1, and says that it is a lower bound', async () => {
  opened.measurement = incomplete
  opened.closed = 0
  const options = {
    mode: 'auto',
    force: false,
    window: '1s',
    every: '1s',
    windows: '1s',
    hmp: false,
    csv: false,
    all: false,
  }
  const calc = await inSession({ json: false }, session =>
    runCalc(session, ['guest:stride'], options),
  )
  expect(calc).toMatchObject({ status: 1, err: '' })
  expect(calc.out).toMatch(/^100\.0 MiB\/s or more {2}guest:stride\n/)
  expect(calc.out).toContain('warning  RING_OVERRUN: entries were lost\n')
  const watch = await inSession({ json: false }, session =>
    runWatch(session, ['guest:stride'], options),
  )
  expect(watch.status).toBe(1)
  expect(watch.out).toMatch(/^([\d:.]+ +>= 100\.0 MiB\/s .*RING_OVERRUN\n){2}$/)
  const json = await inSession({}, session => runCalc(session, ['guest:stride'], options))
  expect(json.status).toBe(1)
  expect(JSON.parse(json.out).complete).toBe(false)
  opened.measurement = curveOf(false)
  const curve = await inSession({ json: false }, session =>
    runCurve(session, 'guest:stride', options),
  )
  expect(curve.status).toBe(1)
  opened.measurement = curveOf(true)
  const whole = await inSession({ json: false }, session =>
    runCurve(session, 'guest:stride', options),
  )
  expect(whole.status).toBe(0)
  expect(opened.closed).toBe(5)
})

it('a measurement agrees with the truth within its bounds, an estimate whenever it is complete', () => {
  expect(agrees(measurementOf())).toBe(true)
  expect(agrees(measurementOf({ pages: 25_599 }))).toBe(true)
  expect(agrees(measurementOf({ pages: 25_598 }))).toBe(false)
  expect(agrees(measurementOf({ pages: 25_602 }))).toBe(false)
  expect(agrees(incomplete)).toBe(false)
  const { truth: _, ...unknown } = measurementOf()
  expect(agrees(unknown)).toBe(false)
  expect(agrees(measurementOf({ mode: 'page-sampling', pages: 1 }))).toBe(true)
  expect(agrees(measurementOf({ mode: 'page-sampling', complete: false }))).toBe(false)
})

describeKvm('the demo', () => {
  const options = {
    workload: 'stride',
    pages: '25600',
    memory: '1GiB',
    vcpus: '1',
    window: '1s',
    rounds: '1',
  }

  it('of figures that are right ends with 0', async () => {
    opened.measurement = measurementOf()
    const { status, out } = await inSession({ json: false }, session => runDemo(session, options))
    expect(status).toBe(0)
    expect(out).toContain('Every exact measurement agrees')
    expect(out).toContain('written as fast as it can')
  })

  it('of a figure that is wrong ends with 1, and says so', async () => {
    opened.measurement = measurementOf({ pages: 20_000 })
    const { status, out } = await inSession({ json: false }, session => runDemo(session, options))
    expect(status).toBe(1)
    expect(out).toMatch(/ NO /)
    expect(out).toContain('that is a defect, please report it')
    const json = await inSession({}, session => runDemo(session, options))
    expect(json.status).toBe(1)
  })

  it('names the rate that the guest has', async () => {
    opened.measurement = measurementOf()
    const paced = { ...options, rate: '100MiB/s' }
    const { out } = await inSession({ json: false }, session => runDemo(session, paced))
    expect(out).toContain('written at 100.0 MiB/s')
  })
})
