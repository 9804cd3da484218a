/** A VM behind the monitor of a real QEMU 10: every way of measuring it. */

import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import {
  type DirtyRateMeasurement,
  openTarget,
  type QmpTarget,
  workload,
} from '../../../ts/index.js'
import { dirtyrate } from '../../fixtures/command.js'
import { describeWith } from '../../fixtures/kvm.js'
import { PAGE } from '../../fixtures/machine.js'
import { type QemuGuest, startQemu } from '../../fixtures/qemu.js'
import { besidesLength } from '../../fixtures/truth.js'

const MIB = 2 ** 20
/** 40 MiB, which an emulated guest too writes several times in a second. */
const PAGES = 10_240
/**
 * Pages that the guest writes beside its working set: its mailbox, its stack, and what its boot
 * left.
 */
const OTHERS = 8
/** A confidence at which an interval that is right fails no run of the tests. */
const SURE = 0.999999

let guest: QemuGuest
const opened = async (options = ''): Promise<QmpTarget> => {
  const target = await openTarget(`qmp:${guest.path}${options}`)
  onTestFinished(() => target.close())
  return target
}

/** The rates that all pages of the guest can give in a window of `ms`, in bytes per second. */
const rateOf = (pages: number, ms: number): number => (pages * PAGE * 1000) / ms

describeWith('qemu-system-x86_64', 'a VM behind a QMP monitor, with KVM', () => {
  beforeAll(async () => {
    guest = await startQemu(workload.stride({ pages: PAGES }))
    await guest.atWork()
  }, 120_000)
  afterAll(() => guest.end())

  it('says what it is', async () => {
    const target = await opened()
    const { modes, ...rest } = await target.describe()
    expect(rest).toEqual({
      uri: `qmp:${guest.path}`,
      memoryBytes: 256 * MIB,
      vcpus: 1,
      state: 'running',
      kvm: true,
      software: expect.stringMatching(/^QEMU \d+\.\d+\.\d+, with KVM$/),
    })
    expect(modes.map(({ mode }) => mode)).toEqual(['page-sampling', 'dirty-bitmap', 'dirty-ring'])
  })

  it('has a rate by the bitmap, between the MiB/s that QEMU says and the next', async () => {
    const target = await opened()
    const measured = await target.measureDirtyRate({ mode: 'dirty-bitmap', window: '1s' })
    const { interval, window, bytesPerSecond } = measured
    // What QEMU does not say is not there.
    expect(Object.keys(measured).sort()).toEqual(
      ['bytesPerSecond', 'complete', 'interval', 'mode', 'qapi', 'schemaVersion']
        .concat('startedAt', 'target', 'warnings', 'window')
        .sort(),
    )
    expect(window).toEqual({ requestedMs: 1000, ns: expect.any(Number) })
    expect(bytesPerSecond % MIB).toBe(0)
    expect(interval).toEqual({ low: bytesPerSecond, high: bytesPerSecond + MIB, confidence: 1 })
    const ms = window.ns / 1e6
    expect(ms).toBeGreaterThanOrEqual(1000)
    // QEMU rounds the window down to whole ms.
    expect(rateOf(PAGES, ms + 1)).toBeLessThan(interval.high ?? 0)
    expect(rateOf(PAGES + OTHERS, ms)).toBeGreaterThanOrEqual(interval.low)
    expect(measured.qapi).toMatchObject({
      status: 'measured',
      mode: 'dirty-bitmap',
      'dirty-rate': bytesPerSecond / MIB,
      'calc-time': ms,
      'calc-time-unit': 'millisecond',
      'sample-pages': 0,
    })
    const started = measured.qapi['start-time'] * 1000
    expect(Math.abs(started - Date.parse(measured.startedAt))).toBeLessThan(5000)
  })

  it('is sampled unless another mode is named, with an interval', async () => {
    const target = await opened()
    for (const samplePages of [512, 16_384]) {
      const measured: DirtyRateMeasurement = await target.measureDirtyRate({
        window: '1s',
        samplePages,
        confidence: SURE,
      })
      expect(measured).toMatchObject({
        mode: 'page-sampling',
        sampling: { samplesPerGiB: samplePages },
      })
      const { low, high, confidence } = measured.interval
      expect(confidence).toBe(SURE)
      const rate = rateOf(PAGES, measured.window.ns / 1e6)
      expect(low).toBeLessThan(rate)
      expect(high).toBeGreaterThan(rate)
    }
  })

  it('has a curve of separate windows, without pages', async () => {
    const target = await opened()
    const curve = await target.measureDirtyCurve({
      mode: 'dirty-bitmap',
      windows: ['200ms', '500ms'],
    })
    expect(curve.points.map(({ requestedMs }) => requestedMs)).toEqual([200, 500])
    const [separate, ...others] = besidesLength(curve.warnings)
    expect([separate?.code, others]).toEqual(['SEPARATE_WINDOWS', []])
    // The second window opened when the first one was over.
    const [, spread] = /opened (\d+) ms after/.exec(separate?.message ?? '') ?? []
    expect(Number(spread)).toBeGreaterThanOrEqual(200)
    for (const point of [curve, ...curve.points]) {
      for (const name of ['pages', 'dirtyBytes', 'pageSize']) expect(point).not.toHaveProperty(name)
    }
    for (const { windowNs, interval } of curve.points) {
      expect(interval.low).toBeGreaterThan(0)
      expect(interval.low).toBeLessThanOrEqual(rateOf(PAGES + OTHERS, windowNs / 1e6))
    }
  })

  it('is watched', async () => {
    const target = await opened()
    const rates: number[] = []
    for await (const { bytesPerSecond } of target.watchDirtyRate({ every: '300ms' })) {
      if (rates.push(bytesPerSecond) === 2) break
    }
    expect(rates.every(rate => rate > 0)).toBe(true)
    expect(target.history).toHaveLength(2)
  })

  it('is printed without columns that nobody knows', async () => {
    const run = (...words: string[]): ReturnType<typeof dirtyrate> =>
      dirtyrate([...words, '--quiet'])
    const calc = await run('calc', `qmp:${guest.path}`, '--window', '200ms')
    expect(calc.stdout).toMatch(
      /MiB\/s {2}qmp:.*\nmode +page-sampling\nwindow .*\ninterval .*\n(warning +WINDOW_MISMATCH.*\n)?$/,
    )
    const table = await run('curve', `qmp:${guest.path}`, '--windows', '100ms,200ms')
    expect(table.stdout).toMatch(/\n *window +rate +interval\n/)
    expect(table.stdout).toContain('SEPARATE_WINDOWS')
    const csv = await run('curve', `qmp:${guest.path}`, '--windows', '100ms', '--csv')
    const [head = '', row = ''] = csv.stdout.split('\r\n')
    expect(row.split(',')[head.split(',').indexOf('pages')]).toBe('')
  })
})
