/**
 * A window that is not the one asked for has a warning. This tests the rule alone, and a host that
 * really stands still.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import fc from 'fast-check'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { DirtyRateCurve, Mode, VirtualMachineMeasurement } from '../../ts/index.js'
import { curveOf } from '../../ts/measurement/curve.js'
import type { Round } from '../../ts/measurement/source.js'
import { windowWarnings } from '../../ts/measurement/warnings.js'
import type { DirtyBitmapFigures } from '../../ts/results/measurement.js'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY, sleep } from '../fixtures/machine.js'
import { modesHere } from '../fixtures/modes.js'
import { windowsOf } from '../fixtures/truth.js'

const NS_PER_MS = 1e6

/** A window of `ms` for `requestedMs`, whose sync began `lateMs` late and took `syncMs`. */
function round(requestedMs: number, ms: number, lateMs = 0, syncMs = 0): Round<DirtyBitmapFigures> {
  return {
    figures: {
      mode: 'dirty-bitmap',
      window: { requestedMs, ns: ms * NS_PER_MS, skewNs: 0 },
      bytesPerSecond: 1,
      interval: { low: 1, high: 1, confidence: 1 },
      pages: 1,
      pageSize: 4096,
      complete: true,
      warnings: [],
    },
    lateNs: lateMs * NS_PER_MS,
    explainedNs: syncMs * NS_PER_MS,
  }
}

/** The same with a RAM block whose own window is so long. */
function withBlock(of: Round<DirtyBitmapFigures>, windowNs: number): Round<DirtyBitmapFigures> {
  const blocks = [{ name: 'ram', guestAddress: 0, bytes: 1, pages: 1, windowNs }]
  return { ...of, figures: { ...of.figures, blocks } }
}

/** The same by page sampling, which first saw so many pages dirty in it. */
function sampled(first: Round<DirtyBitmapFigures>, pages: number): Round {
  return {
    ...first,
    figures: { ...first.figures, mode: 'page-sampling', sampling: { samplesPerGiB: 512 } },
    increment: { pages, low: pages - 1, high: pages + 1 },
  }
}

const frame = {
  schemaVersion: 1,
  target: 'guest:idle',
  startedAt: new Date(0).toISOString(),
} as const
const mismatch = [{ code: 'WINDOW_MISMATCH', message: expect.any(String) }]

describe('a window', () => {
  it.each([
    ['as asked for', round(1000, 1000)],
    ['late by a tenth', round(1000, 1100, 100)],
    ['late by 10 ms', round(20, 30, 10)],
    ['longer by what its own sync took', round(1000, 9000, 0, 8000)],
    [
      'of a block that came later, beside one that was there',
      withBlock(round(1000, 700), 1000 * NS_PER_MS),
    ],
  ])('has nothing to say: %s', (_, of) => expect(windowWarnings(of)).toEqual([]))

  it.each([
    ['late by more than a tenth', round(1000, 1102, 102), '1102.0 ms', '1000 ms'],
    ['late by more than 10 ms', round(20, 31, 11), '31.0 ms', '20 ms'],
    ['late, though its sync was slow too', round(100, 3000, 2000, 2900), '3000.0 ms', '100 ms'],
    ['longer than late and sync explain', round(1000, 9000, 0, 100), '9000.0 ms', '1000 ms'],
    ['too short', round(1000, 850), '850.0 ms', '1000 ms'],
  ])('says how long it was, and how long it was to be: %s', (_, of, was, asked) => {
    const [warning, ...others] = windowWarnings(of)
    expect(others).toEqual([])
    expect(warning).toMatchObject({ code: 'WINDOW_MISMATCH' })
    expect(warning?.message).toContain(was)
    expect(warning?.message).toContain(asked)
  })
})

describe('a curve', () => {
  it('has one point for windows that all ended when the host went on', () => {
    const stopped = [50, 100, 200].map(asked => round(asked, 3481.7, 3481.7 - asked))
    const curve = curveOf([round(10, 10), ...stopped, round(5000, 5000)], frame)
    expect(
      curve.points.map(({ requestedMs, windowNs }) => [requestedMs, windowNs / NS_PER_MS]),
    ).toEqual([
      [10, 10],
      [200, 3481.7],
      [5000, 5000],
    ])
    expect(windowsOf(curve)).toEqual([10, 50, 100, 200, 5000])
    expect(curve.warnings).toEqual([...mismatch, ...mismatch])
    expect(curve.warnings[1]?.message).toContain('3481.7 ms')
  })

  it('keeps what was first seen dirty in a window that has no point', () => {
    const curve = curveOf(
      [sampled(round(50, 900, 850), 7), sampled(round(100, 900, 800), 2)],
      frame,
    )
    expect(curve).toMatchObject({ points: [{ increment: { pages: 9, low: 7, high: 11 } }] })
  })

  it('has a point or a word for each window, and points that ascend, whenever the host stood still', () => {
    const asked = fc.uniqueArray(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 8 })
    const stop = fc.record({
      at: fc.integer({ min: 0, max: 2000 }),
      ms: fc.integer({ min: 0, max: 4000 }),
    })
    fc.assert(
      fc.property(asked, stop, (windows, { at, ms }) => {
        const sorted = windows.sort((a, b) => a - b)
        const was = (window: number): number => (window > at ? Math.max(window, at + ms) : window)
        const curve = curveOf(
          sorted.map(window => round(window, was(window), was(window) - window)),
          frame,
        )
        expect(windowsOf(curve)).toEqual(sorted)
        for (const [index, point] of curve.points.entries()) {
          const before = curve.points[index - 1]
          expect(point.requestedMs).toBeGreaterThan(before?.requestedMs ?? 0)
          // Two windows that ended at one and the same time are one, unless neither was late to
          // speak of.
          if (point.windowNs === before?.windowNs)
            expect(
              windowWarnings(
                round(
                  before.requestedMs,
                  before.windowNs / NS_PER_MS,
                  before.windowNs / NS_PER_MS - before.requestedMs,
                ),
              ),
            ).toEqual([])
        }
      }),
    )
  })
})

/**
 * Measures in another process, which is stopped for `STOPPED` once its window is open, and longer
 * than it.
 */
const WINDOW = 1500
const STOPPED = 3000
const program = (body: string, mode: Mode): string => `
  import { VirtualMachine, workload } from 'dirtyrate'
  const vm = await VirtualMachine.create({
    memory: '${MEMORY}',
    ${mode === 'dirty-ring' ? 'dirtyLog: { ringEntries: 65536 },' : ''}
  })
  await vm.load(workload.stride({ pages: 2000, rate: '2MiB/s' }))
  await vm.start()
  vm.on('start', () => setTimeout(() => console.log('open'), 300))
  ${body}
  await vm.close()`

async function stopped<T>(body: string, mode: Mode): Promise<T> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--input-type=module', '--eval', program(body, mode)],
    {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  onTestFinished(() => void child.kill('SIGKILL'))
  let text = ''
  const ended = once(child, 'close')
  child.stdout?.setEncoding('utf8').on('data', (piece: string) => {
    text += piece
  })
  while (!text.includes('open\n')) await sleep(5)
  child.kill('SIGSTOP')
  await sleep(STOPPED)
  child.kill('SIGCONT')
  await ended
  return JSON.parse(text.replaceAll('open\n', '')) as T
}

describeKvm('a host that stands still within a window', () => {
  it.each(modesHere)('is reported by a measurement: %s', async mode => {
    const { window, warnings } = await stopped<VirtualMachineMeasurement>(
      `console.log(JSON.stringify(await vm.measureDirtyRate({ window: ${WINDOW}, mode: '${mode}' })))`,
      mode,
    )
    expect(window.ns / NS_PER_MS).toBeGreaterThan(STOPPED)
    expect(warnings).toEqual(mismatch)
  })

  it.each(modesHere)('is reported by a round of a watch: %s', async mode => {
    const { warnings } = await stopped<VirtualMachineMeasurement>(
      `for await (const round of vm.watchDirtyRate({ every: ${WINDOW}, mode: '${mode}' })) {
         console.log(JSON.stringify(round))
         break
       }`,
      mode,
    )
    expect(warnings).toEqual(mismatch)
  })

  it.each(modesHere)(
    'is reported by a curve, which has no point for a skipped window: %s',
    async mode => {
      const windows = [WINDOW, WINDOW + 100, WINDOW + 200]
      const curve = await stopped<DirtyRateCurve>(
        `console.log(JSON.stringify(await vm.measureDirtyCurve({ windows: ${JSON.stringify(windows)}, mode: '${mode}' })))`,
        mode,
      )
      expect(curve.points.map(({ requestedMs }) => requestedMs)).toEqual(windows.slice(-1))
      expect(windowsOf(curve)).toEqual(windows)
    },
  )
})
