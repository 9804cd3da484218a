/**
 * A new kind of target is one row in the table of schemes and a source. This one plays a writer
 * that dirties 256 pages in each millisecond, so that each figure of it is known.
 */

import { describe, expect, it } from 'vitest'
import { parseCountText } from '../../ts/ground/arguments.js'
import { DirtyRateError } from '../../ts/ground/errors.js'
import type {
  DirtyBitmapFigures,
  DirtyRateCurve,
  MeasurementBegun,
  Target,
} from '../../ts/index.js'
import type { Method, Round, Source } from '../../ts/measurement/source.js'
import { MeasuredTarget } from '../../ts/targets/measured-target.js'
import { schemes } from '../../ts/targets/open.js'
import { opener, type Scheme } from '../../ts/targets/scheme.js'
import type { TargetDescription } from '../../ts/targets/target.js'

const PAGE = 4096
const PAGES_PER_MS = 256

class WriterSource implements Source<DirtyBitmapFigures> {
  readonly modes = [{ mode: 'dirty-bitmap', exact: true, costToGuest: 'nothing' }] as const

  modeUnavailable(): DirtyRateError {
    return new DirtyRateError('ERR_MODE_UNAVAILABLE', 'the writer has a bitmap only')
  }

  requireMeasurable(): void {}

  explain(error: unknown): unknown {
    return error
  }

  async measure(_: Method, deadlinesMs: readonly number[]): Promise<Round<DirtyBitmapFigures>[]> {
    return deadlinesMs.map(ms => this.#round(ms))
  }

  async *rounds(
    _: Method,
    everyMs: number,
  ): AsyncGenerator<Round<DirtyBitmapFigures>, void, undefined> {
    for (;;) yield this.#round(everyMs)
  }

  #round(requestedMs: number): Round<DirtyBitmapFigures> {
    const pages = PAGES_PER_MS * requestedMs
    const bytesPerSecond = (pages * PAGE * 1000) / requestedMs
    return {
      figures: {
        mode: 'dirty-bitmap',
        window: { requestedMs, ns: requestedMs * 1e6, skewNs: 0 },
        bytesPerSecond,
        interval: { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 },
        pages,
        pageSize: PAGE,
        complete: true,
        warnings: [],
      },
      lateNs: 0,
      explainedNs: 0,
    }
  }
}

class Writer extends MeasuredTarget<DirtyBitmapFigures> {
  readonly #size: number

  constructor(size: number) {
    super(new WriterSource(), 2)
    this.#size = size
  }

  get uri(): string {
    return `writer:steady,size=${this.#size}`
  }

  async describe(): Promise<TargetDescription> {
    const modes = [{ mode: 'dirty-bitmap', exact: true, costToGuest: 'nothing' } as const]
    return { uri: this.uri, memoryBytes: this.#size, vcpus: 1, state: 'running', modes }
  }
}

const scheme: Scheme<Writer> = {
  name: 'writer',
  operand: 'NAME',
  about: 'a writer that is played',
  options: { size: { value: 'N', meaning: 'its memory in bytes' } },
  common: {},
  open: async (_, { size = '4096' }) => new Writer(parseCountText(size, 'size', 1)),
}
const open = opener([...schemes, scheme])

describe('a new kind of target', () => {
  it('is opened by its name, and by what it says of itself', async () => {
    const target: Target = await open('writer:steady,size=8192')
    expect(await target.describe()).toMatchObject({ memoryBytes: 8192 })
    expect(target.modes).toEqual(['dirty-bitmap'])
    const again = await open(target.uri)
    expect(again.uri).toBe(target.uri)
  })

  it('has every way of measuring, with events and a history', async () => {
    const target = await open('writer:steady')
    const begun: MeasurementBegun[] = []
    target.on('start', event => begun.push(event))
    const measured = await target.measureDirtyRate({ window: '100ms' })
    expect(measured).toMatchObject({
      schemaVersion: 1,
      target: 'writer:steady,size=4096',
      pages: 25_600,
      qapi: { 'dirty-rate': 1000, mode: 'dirty-bitmap' },
    })
    const curve: DirtyRateCurve = await target.measureDirtyCurve({ windows: ['100ms', '50ms'] })
    expect(curve.points.map(({ dirtyBytes }) => dirtyBytes)).toEqual([12_800 * PAGE, 25_600 * PAGE])
    for await (const round of target.watchDirtyRate({ every: '10ms' })) {
      expect(round.pages).toBe(2560)
      break
    }
    expect(begun.map(({ by }) => by)).toEqual(['measure', 'curve', 'watch'])
    expect(target.history.map(({ pages }) => pages)).toEqual([25_600, 2560])
    await target.calcDirtyRate({
      'calc-time': 50,
      'calc-time-unit': 'millisecond',
      mode: 'dirty-bitmap',
    })
    await expect
      .poll(() => target.queryDirtyRate())
      .toMatchObject({ status: 'measured', 'dirty-rate': 1000 })
  })

  it('gives results that nobody can change', async () => {
    const target = await open('writer:steady')
    const measured = await target.measureDirtyRate({ window: 1 })
    for (const part of [
      measured,
      measured.window,
      measured.interval,
      measured.warnings,
      measured.qapi,
    ])
      expect(Object.isFrozen(part)).toBe(true)
    const curve = await target.measureDirtyCurve({ windows: [1] })
    for (const part of [curve, curve.points, curve.points[0]])
      expect(Object.isFrozen(part)).toBe(true)
    expect(() => Object.assign(measured, { pages: 0 })).toThrow(TypeError)
    expect(target.history[0]).toBe(measured)
  })

  it('ends a watch that is disposed of', async () => {
    const watch = (await open('writer:steady')).watchDirtyRate({ every: 1 })
    expect(await watch.next()).toMatchObject({ done: false })
    await watch[Symbol.asyncDispose]()
    expect(await watch.next()).toEqual({ done: true, value: undefined })
  })

  it('has none of the abilities of other kinds, and says so by their absence', async () => {
    const target = await open('writer:steady')
    expect(target.control).toBeUndefined()
    expect(target.console).toBeUndefined()
  })

  it('is refused when it is closed, and in its own words', async () => {
    const target = await open('writer:steady')
    await expect(target.measureDirtyRate({ mode: 'dirty-ring' })).rejects.toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
      message: 'the writer has a bitmap only',
    })
    await target.close()
    await expect(target.queryDirtyRate()).rejects.toMatchObject({ code: 'ERR_CLOSED' })
    expect(() => target.on('done', () => {})).toThrow(
      expect.objectContaining({ code: 'ERR_CLOSED' }),
    )
  })

  it('has its options checked, and the likely one proposed', async () => {
    await expect(open('writer:steady,siez=1')).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: "target: 'siez' is not an option of writer:",
      hint: expect.stringContaining("'size'"),
    })
    await expect(open('wrter:steady')).rejects.toMatchObject({
      hint: expect.stringContaining("'writer'"),
    })
  })
})
