/** `dirtyrate calc TARGET…`: one measurement of each target. */

import { listVms } from '../host/vm-list.js'
import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { Cost, DirtyRingFigures, SamplingMeasurement } from '../results/measurement.js'
import type { Target } from '../targets/target.js'
import { cellsText, cellsWanted } from './cells.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { guestActivity } from './guest-activity.js'
import { during } from './progress.js'
import { isPoint, type Rates, ratesOf } from './rate-unit.js'
import { type KnownVms, vmOfOpen } from './same-vm.js'
import type { Session } from './session.js'
import {
  checkChoice,
  isSingle,
  type Opened,
  refuseSingleOutputs,
  type TargetChoice,
  withEach,
} from './several-targets.js'
import { Table } from './table.js'
import {
  type ModeOptions,
  type Opening,
  parseModeOptions,
  printHmp,
  refuseHmpAndJson,
  withTarget,
} from './target.js'
import { count, ms, visible, widthOf } from './text.js'
import { parseWait, type Wait, type WaitOptions, waitBefore } from './wait.js'

export interface CalcOptions extends ModeOptions, WaitOptions {
  window: string
  cells?: string
  unit?: string
  hmp: boolean
  all: boolean
}

export async function runCalc(
  session: Session,
  uris: readonly string[],
  options: CalcOptions,
): Promise<number> {
  // Mistakes in the command line are reported before a VM is made.
  const choice: TargetChoice = { uris, all: options.all }
  checkChoice(choice)
  refuseSingleOutputs(choice, options)
  const window = parseWindow(options.window, '--window')
  const mode = parseModeOptions(options, uris)
  const open = { mode, force: options.force }
  const wait = parseWait(options)
  refuseHmpAndJson(session, options.hmp)
  const rates = ratesOf(
    options.unit,
    session.options.json ? '--json' : options.hmp ? '--hmp' : undefined,
  )
  const { signal } = session
  const [uri = ''] = uris
  const cells = cellsWanted(session, options.cells, isSingle(choice) && !options.hmp)
  if (!isSingle(choice)) return calcEach(session, choice, { ...open, cells, window, wait, rates })
  return withTarget(session, uri, open, async target => {
    await waitBefore(session, target, wait)
    const measurement = await during(session, `measuring for ${options.window}`, window, () =>
      target.measureDirtyRate({ ...mode, ...cells, window, signal }),
    )
    if (options.hmp) printHmp(session, measurement)
    else printMeasurement(session, measurement, rates)
    session.document(measurement)
    return measurement.complete ? EXIT_OK : EXIT_FAILED
  })
}

/** How several targets are measured. */
interface Each extends Opening {
  cells: { cells?: number }
  window: number
  wait: Wait
  rates: Rates
}

/** The widest name of a target for which the columns behind it still begin at the same place. */
const WIDEST_TARGET = 60

/** The sum of the rates. A VM that several targets name is counted once, and `once` says so. */
export function together(
  measured: readonly { target: Target; bytesPerSecond: number }[],
  vms: KnownVms,
): { sum: number; once: string } {
  const rates = new Map<unknown, number>()
  for (const { target, bytesPerSecond } of measured) {
    const key = vmOfOpen(target, vms) ?? target
    if (!rates.has(key)) rates.set(key, bytesPerSecond)
  }
  const sum = [...rates.values()].reduce((all, rate) => all + rate, 0)
  const isRepeated = rates.size < measured.length
  return { sum, once: isRepeated ? '; a VM that several targets name is counted once' : '' }
}

/** Measures several targets in the same window, with a line for each. */
function calcEach(
  session: Session,
  choice: TargetChoice,
  { mode, force, cells, window, wait, rates }: Each,
): Promise<number> {
  const { signal } = session
  const measured: { target: Target; bytesPerSecond: number }[] = []
  let table: Table | undefined
  return withEach(
    session,
    choice,
    { mode, force },
    async ({ target, label }, all) => {
      await waitBefore(session, target, wait)
      const measurement = await during(session, `measuring ${all.length} targets`, window, () =>
        target.measureDirtyRate({ ...mode, ...cells, window, signal }),
      )
      measured.push({ target, bytesPerSecond: measurement.bytesPerSecond })
      const show = (): void => {
        table ??= targetTable(session, widestOf(all))
        for (const text of table.row(cellsOf(label, measurement, rates), session.columns))
          session.print(text)
        session.document(measurement)
      }
      return { complete: measurement.complete, show }
    },
    async failed => {
      const { sum, once } = together(measured, (await listVms()).vms)
      session.explain()
      // The line of a single target has its rate.
      const dirtied = measured.length < 2 ? '' : ` Together they dirty ${rates.rate(sum)}${once}.`
      session.explain(`${measuredOf(measured.length, measured.length + failed)}${dirtied}`)
    },
  )
}

/** `1 of 2 targets was measured.` */
export function measuredOf(measured: number, all: number): string {
  return `${count(measured)} of ${count(all)} target${all === 1 ? '' : 's'} ${measured === 1 || all === 1 ? 'was' : 'were'} measured.`
}

/** The width of the column of targets. */
function widestOf(all: readonly Opened[]): number {
  return Math.min(Math.max(...all.map(({ label }) => widthOf(visible(label)))), WIDEST_TARGET)
}

function targetTable(session: Session, widest: number): Table {
  return new Table(
    [
      { title: 'target', width: widest, essential: true, left: true },
      { title: 'rate', width: 16, essential: true },
      { title: 'mode', width: 13 },
      { title: 'interval', width: 30 },
      { title: 'pages', width: 11 },
      { title: 'window', width: 11 },
      { title: 'warnings', width: 8 },
    ],
    text => session.bold(text),
  )
}

function cellsOf(label: string, measurement: DirtyRateMeasurement, rates: Rates): string[] {
  const { bytesPerSecond, complete, mode, interval, pages, window, warnings } = measurement
  return [
    visible(label),
    `${complete ? '' : '>= '}${rates.rate(bytesPerSecond)}`,
    mode,
    rates.interval(interval),
    pages === undefined ? '-' : count(pages),
    ms(window.ns),
    warnings.length === 0 ? '-' : warnings.map(({ code }) => code).join(' '),
  ]
}

function printMeasurement(session: Session, measurement: DirtyRateMeasurement, rates: Rates): void {
  const { bytesPerSecond, interval, pages, window, mode, complete, warnings, truth } = measurement
  const isEstimate = mode === 'page-sampling'
  session.headline(`${rates.rate(bytesPerSecond)}${complete ? '' : ' or more'}`, measurement.target)
  session.field('mode', mode)
  session.field('window', ms(window.ns))
  // The headline already says that an incomplete exact figure has no upper bound.
  if (isEstimate || (complete && !isPoint(interval)))
    session.field('interval', rates.interval(interval))
  if (pages !== undefined)
    session.field('pages', `${count(pages)} ${isEstimate ? 'estimated' : 'distinct'}`)
  if (measurement.cells !== undefined) session.field('cells', cellsText(measurement.cells))
  if (isEstimate) printSamples(session, measurement.sampling)
  if (mode === 'dirty-ring') printRings(session, measurement, rates)
  if (truth)
    session.field('truth', `${count(truth.low)} to ${count(truth.high)}, by the guest's own count`)
  const cost = costParts(measurement.cost)
  if (cost.length > 0) session.field('cost', cost.join(', '))
  const { guest } = measurement.cost ?? {}
  if (guest !== undefined)
    for (const activity of guestActivity(guest)) session.field('guest', activity)
  for (const { code, message } of warnings) session.field('warning', `${code}: ${message}`)
}

function printSamples(session: Session, { samples, hits, zeroPages }: SamplingMeasurement): void {
  if (samples === undefined || hits === undefined) return
  const zeros = zeroPages === undefined ? '' : ` and ${count(zeroPages)} are zero`
  session.field('samples', `${count(samples)}, of which ${count(hits)} changed${zeros}`)
}

function printRings(session: Session, { ring, vcpus }: DirtyRingFigures, rates: Rates): void {
  if (ring) {
    session.field(
      'ring',
      `${count(ring.entries)} entries, ${count(ring.duplicates)} duplicates, ${count(ring.sharedPages)} pages shared, ${count(ring.lost)} lost`,
    )
  }
  for (const { id, bytesPerSecond, pages } of vcpus) {
    const counted = pages === undefined ? '' : `, ${count(pages)} pages`
    session.field(`vCPU ${id}`, `${rates.rate(bytesPerSecond)}${counted}`)
  }
}

/** The known parts of the cost, each as a text. */
function costParts({ hashNs, startNs, syncNs, reapNs, longestLockNs }: Cost = {}): string[] {
  const parts: [string, number | undefined][] = [
    ['hashing', hashNs],
    ['start', startNs],
    ['sync', syncNs],
    ['reap', reapNs],
    ['longest lock', longestLockNs],
  ]
  return parts.flatMap(([name, ns]) => (ns === undefined ? [] : [`${name} ${ms(ns)}`]))
}
