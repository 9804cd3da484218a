/**
 * The mode soft-dirty from end to end, on a process whose writes are known. It runs where the
 * kernel has the bits, as those of the rigs of x86-64 have.
 */

import { writeFileSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type DirtyRateCurve, openTarget, type Target, type Warning } from '../../../ts/index.js'
import { PAGE, sleep } from '../../fixtures/machine.js'
import { hasSoftDirty, inTime, Writer } from '../../fixtures/writer.js'

const MIB = 2 ** 20
const GIB = 2 ** 30
/** The memory of most tests. */
const SMALL = 16 * MIB
/** More than a region. Most of it is never touched. */
const SPARSE = GIB + 256 * MIB
/** The pages of a region. */
const REGION = GIB / PAGE
/** The pages of a huge page. */
const OF_HUGE = (2 * MIB) / PAGE
/** What the machine may do to any window, whatever the process writes. */
const OF_THE_CLOCK = 'WINDOW_MISMATCH'
const LONG = { timeout: 600_000 }

/** Pages from one on, one of each step, so many. */
type Run = readonly [first: number, step: number, count: number]

async function opened(writer: Writer): Promise<Target> {
  const target = await openTarget(`pid:${writer.pid},range=${writer.range}`)
  onTestFinished(() => target.close())
  return target
}

/** A process with more memory than a region, and its target, which knows the guest addresses. */
async function sparse(): Promise<{ writer: Writer; target: Target }> {
  // Of the rules for VMMs, Firecracker's has the guest addresses of anonymous memory.
  const writer = await Writer.start(SPARSE, 'firecracker')
  const target = await openTarget(`pid:${writer.pid}`)
  onTestFinished(() => target.close())
  return { writer, target }
}

async function writeAll(writer: Writer, runs: readonly Run[]): Promise<number[]> {
  const written: number[] = []
  for (const run of runs) written.push(...(await writer.write(...run)))
  return written
}

const codesOf = ({ warnings }: { warnings: readonly Warning[] }): string[] =>
  warnings.map(({ code }) => code).filter(code => code !== OF_THE_CLOCK)

const GRANULES = ['64KiB', '2MiB'] as const
const GRANULE_BYTES = [64 * 2 ** 10, 2 * MIB]

/** What a window says if these pages were written in it, counted one by one. */
function counted(written: readonly number[]) {
  const pages = [...new Set(written)]
  const granules = GRANULE_BYTES.map(bytes => {
    const dirty = new Set(pages.map(page => Math.floor((page * PAGE) / bytes)))
    const begin = [...dirty].filter(granule => !dirty.has(granule - 1))
    return { dirty: dirty.size, extents: begin.length }
  })
  const inRegion = (region: number): number =>
    pages.filter(page => Math.floor(page / REGION) === region).length
  return { pages: pages.length, regions: [inRegion(0), inRegion(1)], granules }
}

const mean = (numbers: readonly number[]): number =>
  numbers.reduce((sum, number) => sum + number, 0) / numbers.length

/**
 * A curve must have the pages that were written, and no others. `written` has those of each window,
 * and of these those of each round.
 */
function expectExact(curve: DirtyRateCurve, written: readonly (readonly number[][])[]): void {
  const means = (of: (window: ReturnType<typeof counted>) => number): number[] =>
    written.map(rounds => mean(rounds.map(pages => of(counted(pages)))))
  expect(curve).toMatchObject({
    mode: 'soft-dirty',
    pageSize: PAGE,
    complete: true,
    memory: { bytes: SPARSE },
    points: means(({ pages }) => pages).map(pages => ({ pages, dirtyBytes: pages * PAGE })),
    regions: [0, 1].map(region => ({
      block: 'ram',
      offset: region * GIB,
      guestAddress: region * GIB,
      bytes: Math.min(GIB, SPARSE - region * GIB),
      pages: means(({ regions }) => regions[region] ?? 0),
    })),
    granularities: GRANULE_BYTES.map((granuleBytes, at) => ({
      granuleBytes,
      dirtyGranules: means(({ granules }) => granules[at]?.dirty ?? 0),
      extents: means(({ granules }) => granules[at]?.extents ?? 0),
    })),
  })
  for (const { bytesPerSecond, interval } of curve.points) {
    expect(interval.confidence).toBe(1)
    expect(interval.low / bytesPerSecond).toBeCloseTo(1, 9)
    expect((interval.high ?? 0) / bytesPerSecond).toBeCloseTo(1, 9)
  }
  expect(codesOf(curve)).toEqual([])
}

/** Measures once, while `act` writes: it must be done before the window ends. */
async function measuredWhile(
  writer: Writer,
  target: Target,
  act: (windowMs: number) => Promise<unknown>,
) {
  return inTime(async windowMs => {
    const { result, openings } = await writer.during(
      () => target.measureDirtyRate({ mode: 'soft-dirty', window: windowMs }),
      () => act(windowMs),
    )
    return openings.every(({ notBefore, done }) => done <= notBefore + windowMs)
      ? result
      : undefined
  })
}

describe.skipIf(!hasSoftDirty())('a process, by its soft-dirty bits', () => {
  it('is measured page by page', LONG, async () => {
    const writer = await Writer.start(SMALL)
    // Some of the pages exist already, some do not, and some are mapped as zeros.
    await writer.write(0, 2, 512)
    await writer.read(2048, 1, 512)
    const target = await opened(writer)
    let written: number[] = []
    const result = await measuredWhile(writer, target, async () => {
      written = await writer.write(3, 7, 400)
      await writer.read(0, 1, writer.pages)
    })
    expect(written).toHaveLength(400)
    const expected = { mode: 'soft-dirty', pages: written.length, pageSize: PAGE, complete: true }
    expect(result).toMatchObject(expected)
    const { bytesPerSecond, interval, blocks: [block] = [] } = result
    expect(block).toMatchObject({ name: 'ram', bytes: SMALL, pages: written.length })
    const rate = (written.length * PAGE) / ((block?.windowNs ?? 0) / 1e9)
    expect(bytesPerSecond / rate).toBeCloseTo(1, 6)
    expect(interval).toEqual({ low: bytesPerSecond, high: bytesPerSecond, confidence: 1 })
    expect(codesOf(result)).toEqual([])
    // Nothing is left of that for the next window, and this target has cleared the bits itself.
    const idle = await target.measureDirtyRate({ mode: 'soft-dirty', window: '50ms' })
    expect({ pages: idle.pages, codes: codesOf(idle) }).toEqual({ pages: 0, codes: [] })
  })

  it('has a curve whose windows have what was written by then', LONG, async () => {
    const { writer, target } = await sparse()
    // Borders of regions, of huge pages and of granules are crossed, and missed.
    const early: Run[] = [
      [0, 1, 40],
      [600, 600, 30],
      [REGION - 20, 1, 51],
    ]
    const late: Run[] = [
      [REGION + 4096, 31, 60],
      [writer.pages - OF_HUGE - 3, 1, 5],
    ]
    const { curve, windows } = await inTime(async short => {
      const long = short * 5
      let [first, second] = [[] as number[], [] as number[]]
      let [earlyDone, lateBegan] = [0, 0]
      const { result, settled, openings } = await writer.during(
        () =>
          target.measureDirtyCurve({
            mode: 'soft-dirty',
            windows: [short, long],
            granularities: GRANULES,
          }),
        async () => {
          const seen = performance.now()
          first = await writeAll(writer, early)
          earlyDone = performance.now()
          await sleep(seen + 2.5 * short - earlyDone)
          lateBegan = performance.now()
          second = [...first, ...(await writeAll(writer, late))]
        },
      )
      const [point, last] = result.points
      const [opening] = openings
      if (point === undefined || last === undefined || opening === undefined) return undefined
      // The last window had ended before the promise was settled.
      const notAfter = settled - last.windowNs / 1e6
      const fits =
        earlyDone <= opening.notBefore + short &&
        lateBegan >= notAfter + point.windowNs / 1e6 &&
        opening.done <= opening.notBefore + long
      return fits ? { curve: result, windows: [[first], [second]] } : undefined
    })
    expectExact(curve, windows)
    expect(curve.points.map(({ pages }) => pages)).toEqual([121, 186])
  })

  it('has the means of curves that are measured one after the other', LONG, async () => {
    const { writer, target } = await sparse()
    const { curve, rounds } = await inTime(async short => {
      let [first, second] = [[] as number[], [] as number[]]
      const { result, openings } = await writer.during(
        () =>
          target.measureDirtyCurve({
            mode: 'soft-dirty',
            windows: [short, 2 * short],
            granularities: GRANULES,
            repeat: 2,
          }),
        async () => {
          first = [
            ...(await writeAll(writer, [
              [10, 16, 100],
              [REGION + 1, 700, 20],
            ])),
            ...(await writer.mark()),
          ]
        },
        async () => {
          second = await writeAll(writer, [[REGION - 8, 1, 16]])
        },
      )
      const fits =
        result.points.length === 2 &&
        openings.every(({ notBefore, done }) => done <= notBefore + short)
      return fits ? { curve: result, rounds: [first, second] } : undefined
    })
    expectExact(curve, [rounds, rounds])
    expect(curve.repeated?.rounds.map(({ pages }) => pages)).toEqual([
      [121, 121],
      [16, 16],
    ])
  })

  it('is measured by one at a time', LONG, async () => {
    const writer = await Writer.start(SMALL)
    const [target, other] = [await opened(writer), await opened(writer)]
    const result = await measuredWhile(writer, target, async () => {
      for (const second of [target, other]) {
        await expect(
          second.measureDirtyRate({ mode: 'soft-dirty', window: '1ms' }),
        ).rejects.toMatchObject({
          code: 'ERR_MEASURING',
          message: `another measurement uses the soft-dirty bits of process ${writer.pid}`,
          hint: expect.stringContaining('page-sampling'),
        })
      }
      await writer.write(0, 3, 8)
    })
    expect(result).toMatchObject({ pages: 8, complete: true })
    expect(codesOf(result)).toEqual([])
  })

  it('is no longer measured when it ends or is stopped', LONG, async () => {
    const writer = await Writer.start(SMALL)
    const target = await opened(writer)
    const measure = () => target.measureDirtyRate({ mode: 'soft-dirty', window: '10min' })
    const stopped = {
      code: 'ERR_PAUSED',
      hint: expect.stringContaining(`kill -CONT ${writer.pid}`),
    }
    await expect(
      writer.during(measure, async () => writer.signal('SIGSTOP')),
    ).rejects.toMatchObject({ ...stopped, message: expect.stringContaining('within the window') })
    await expect(measure()).rejects.toMatchObject(stopped)
    writer.signal('SIGCONT')
    const after = await measuredWhile(writer, target, () => writer.write(0, 1, 9))
    expect(after).toMatchObject({ pages: 9, complete: true })
    await expect(
      writer.during(measure, async () => writer.signal('SIGKILL')),
    ).rejects.toMatchObject({
      code: 'ERR_TARGET_GONE',
      message: `process ${writer.pid} has ended`,
    })
  })

  it('says what another program has cleared', LONG, async () => {
    const writer = await Writer.start(SMALL)
    const target = await opened(writer)
    const cleared = await measuredWhile(writer, target, async windowMs => {
      await writer.write(0, 1, 300)
      // By then written pages were found, and are looked at again and again.
      await sleep(windowMs / 2)
      writeFileSync(`/proc/${writer.pid}/clear_refs`, '4')
      await writer.write(0, 1, 4)
    })
    expect(cleared).toMatchObject({ pages: 4, complete: false, interval: { high: null } })
    expect(codesOf(cleared)).toEqual(['BITS_VANISHED'])
    // Another reader of the process finds cleared bits that it has not cleared itself, once.
    const other = await opened(writer)
    const measure = () => other.measureDirtyRate({ mode: 'soft-dirty', window: '20ms' })
    expect(codesOf(await measure())).toEqual(['BITS_IN_USE'])
    expect(codesOf(await measure())).toEqual([])
  })

  it('has bounds where a huge page has only one bit', LONG, async () => {
    const writer = await Writer.start(SMALL)
    await writer.advise('hugePages')
    await writer.write(0, 1, writer.pages)
    const target = await opened(writer)
    const result = await measuredWhile(writer, target, () => writer.write(OF_HUGE, OF_HUGE, 3))
    const { bytesPerSecond, interval } = result
    expect(result).toMatchObject({ pages: 3 * OF_HUGE, complete: true })
    expect(interval.low / (bytesPerSecond / OF_HUGE)).toBeCloseTo(1, 6)
    expect(interval.high).toBe(bytesPerSecond)
    expect(codesOf(result)).toEqual(['HUGE_PAGES'])
  })
})
