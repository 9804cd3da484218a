/** `dirtyrate heatmap TARGET`: address × time, in a terminal. */

import { parseCountText } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { parseSize } from '../ground/units.js'
import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { Target } from '../targets/target.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import type { Size } from './full-screen.js'
import { type Columns, columnsOf } from './heatmap/columns.js'
import { axes, hottest, LABEL_COLUMNS, legend, row } from './heatmap/picture.js'
import { type Scale, scaleOf } from './heatmap/scale.js'
import { type Step, stepOf } from './heatmap/step.js'
import { during } from './progress.js'
import type { Session } from './session.js'
import { type ModeOptions, parseModeOptions, withTarget } from './target.js'
import { type ColorDepth, parseColorDepth } from './terminal.js'
import { clip, count, visible } from './text.js'
import { parseWait, type WaitOptions, waitBefore } from './wait.js'

export interface HeatmapOptions extends ModeOptions, WaitOptions {
  every: string
  cell?: string
  count?: string
  color: string
}

/** So many windows are kept for a terminal that becomes taller, and for the hottest regions. */
const MOST_STEPS = 300
/** So many rows stay on the screen after the end. */
const ROWS_KEPT = 20
const DEFAULT_COLUMNS = 80
/** Fewer columns than this show nothing. */
const LEAST_ROOM = 8

export async function runHeatmap(
  session: Session,
  uri: string,
  options: HeatmapOptions,
): Promise<number> {
  session.streamDocuments()
  const every = parseWindow(options.every, '--every')
  const rounds =
    options.count === undefined
      ? Number.POSITIVE_INFINITY
      : parseCountText(options.count, '--count', 1)
  const mode = parseModeOptions(options, [uri])
  const wait = parseWait(options)
  const cell = options.cell === undefined ? undefined : parseSize(options.cell, '--cell')
  const depth = session.colorDepth(parseColorDepth(options.color))
  return withTarget(session, uri, { mode, force: options.force }, async target => {
    const cells = cell ?? cellOf(target)
    await waitBefore(session, target, wait)
    const map = new HeatMap(session, { title: target.uri, every, depth })
    // A key ends the map as its last window does.
    const stop = new AbortController()
    const signal = AbortSignal.any([session.signal, stop.signal])
    const watch = target.watchDirtyRate({ ...mode, every, cells, signal })[Symbol.asyncIterator]()
    const screen = session.fullScreen(
      size => map.screen(size),
      key => {
        if (key === 'q') stop.abort(QUIT)
      },
    )
    let complete = true
    try {
      for (let seen = 0; seen < rounds; seen++) {
        const next = (): ReturnType<typeof watch.next> => watch.next()
        const { done, value } = await (screen === undefined && seen === 0
          ? during(session, `measuring every ${options.every}`, every, next)
          : next())
        if (done) break
        map.add(value)
        if (screen === undefined) map.printStep()
        else screen.draw()
        session.document(value)
        complete &&= value.complete
        await session.delivered()
      }
    } catch (error) {
      if (error !== QUIT) throw error
    } finally {
      screen?.close()
      map.printEnd(screen !== undefined)
      await watch.return?.()
    }
    return complete ? EXIT_OK : EXIT_FAILED
  })
}

const QUIT = new Error('a key has ended the map')

/** The cells for a target. Throws ERR_ARGUMENT if it does not know where its dirty pages are. */
function cellOf({ suitableCellBytes, uri }: Target): number {
  if (suitableCellBytes !== undefined) return suitableCellBytes
  throw argumentError(
    `target: ${uri} says how many pages are dirty, and not where they are`,
    'Measure the process of the VM: pid:PID, or libvirt:NAME,outside=yes.',
  )
}

interface Picture {
  readonly above: readonly string[]
  /** The newest rows, at most so many. */
  rows(most: number): string[]
  readonly legend: string
  readonly regions: readonly string[]
}

/** What was measured so far, and how it is shown. */
class HeatMap {
  readonly #session: Session
  readonly #title: string
  readonly #every: number
  readonly #depth: ColorDepth
  readonly #steps: Step[] = []
  #last: DirtyRateMeasurement | undefined
  /** The axes that were printed last. */
  #axes = ''

  constructor(
    session: Session,
    { title, every, depth }: { title: string; every: number; depth: ColorDepth },
  ) {
    this.#session = session
    this.#title = title
    this.#every = every
    this.#depth = depth
  }

  add(measurement: DirtyRateMeasurement): void {
    this.#last = measurement
    this.#steps.push(stepOf(measurement))
    if (this.#steps.length > MOST_STEPS) this.#steps.shift()
  }

  /** The whole terminal: the newest window is the lowest row, as in a log. */
  screen({ columns: width, rows: height }: Size): string[] {
    const newest = this.#steps.at(-1)
    if (newest === undefined)
      return [clip(this.#titleLine(), width), 'measuring the first window ...']
    const picture = this.#picture(newest, width)
    // The map has most of the rows.
    const regions = picture.regions.slice(0, Math.max(0, Math.floor(height / 2) - 6))
    const below = ['', picture.legend, ...regions, 'q: quit']
    const room = Math.max(1, height - picture.above.length - below.length)
    return [...picture.above, ...picture.rows(room), ...below]
  }

  /** The newest window as a line, with the axes above it where they are new. */
  printStep(): void {
    const newest = this.#steps.at(-1)
    if (newest === undefined || this.#session.options.json) return
    const { columns, scale } = this.#layout(newest, this.#width)
    const lines = axes(columns)
    if (lines.join('\n') !== this.#axes) for (const line of lines) this.#session.print(line)
    this.#axes = lines.join('\n')
    this.#session.print(row(columns, scale, newest, this.#depth))
  }

  /** The legend and the hottest regions, with the last rows if they were on a screen. */
  printEnd(wasOnScreen: boolean): void {
    const newest = this.#steps.at(-1)
    if (newest === undefined || this.#session.options.json) return
    const { above, rows, legend, regions } = this.#picture(newest, this.#width)
    const map = wasOnScreen ? [...above, ...rows(ROWS_KEPT)] : []
    for (const line of [...map, '', legend, '', ...regions]) this.#session.print(line)
  }

  get #width(): number {
    return this.#session.columns ?? DEFAULT_COLUMNS
  }

  #titleLine(): string {
    const { mode, bytesPerSecond } = this.#last ?? {}
    const facts = [
      visible(this.#title),
      ...(mode === undefined ? [] : [mode]),
      ...(bytesPerSecond === undefined
        ? []
        : [`${count(Math.round(bytesPerSecond / 2 ** 20))} MiB/s`]),
    ]
    return facts.join('  ')
  }

  /** All parts of the picture, by the newest window. */
  #picture(newest: Step, width: number): Picture {
    const { columns, scale } = this.#layout(newest, width)
    return {
      above: [this.#titleLine(), ...axes(columns)].map(line => clip(line, width)),
      rows: most => this.#steps.slice(-most).map(step => row(columns, scale, step, this.#depth)),
      legend: legend(scale, this.#depth, width),
      regions: hottest(columns, scale, this.#steps).map(line => clip(line, width)),
    }
  }

  #layout({ cells, pageSize }: Step, width: number): { columns: Columns; scale: Scale } {
    const columns = columnsOf(cells, Math.max(LEAST_ROOM, width - LABEL_COLUMNS))
    return { columns, scale: scaleOf(columns.columnBytes / pageSize, this.#every / 1000) }
  }
}
