/** `dirtyrate calc TARGET`: one measurement. */

import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import type {
  Cost,
  DirtyRingFigures,
  GuestCost,
  SamplingMeasurement,
} from '../results/measurement.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { during } from './progress.js'
import { type Rates, ratesOf } from './rate-unit.js'
import type { Session } from './session.js'
import {
  type ModeOptions,
  parseModeOptions,
  printHmp,
  refuseHmpAndJson,
  withTarget,
} from './target.js'
import { count, ms } from './text.js'
import { parseWait, type WaitOptions, waitBefore } from './wait.js'

export interface CalcOptions extends ModeOptions, WaitOptions {
  window: string
  unit?: string
  hmp: boolean
}

export async function runCalc(
  session: Session,
  uri: string,
  options: CalcOptions,
): Promise<number> {
  // Mistakes in the command line are reported before a VM is made.
  const window = parseWindow(options.window, '--window')
  const mode = parseModeOptions(options)
  const open = { mode: mode.mode, force: options.force }
  const wait = parseWait(options)
  refuseHmpAndJson(session, options.hmp)
  const rates = ratesOf(
    options.unit,
    session.options.json ? '--json' : options.hmp ? '--hmp' : undefined,
  )
  const { signal } = session
  return withTarget(session, uri, open, async target => {
    await waitBefore(session, target, wait)
    const measurement = await during(session, `measuring for ${options.window}`, window, () =>
      target.measureDirtyRate({ ...mode, window, signal }),
    )
    if (options.hmp) printHmp(session, measurement)
    else printMeasurement(session, measurement, rates)
    session.document(measurement)
    return measurement.complete ? EXIT_OK : EXIT_FAILED
  })
}

function printMeasurement(session: Session, measurement: DirtyRateMeasurement, rates: Rates): void {
  const { bytesPerSecond, pages, window, mode, complete, warnings, truth } = measurement
  const isEstimate = mode === 'page-sampling'
  session.headline(`${rates.rate(bytesPerSecond)}${complete ? '' : ' or more'}`, measurement.target)
  session.field('mode', mode)
  session.field('window', ms(window.ns))
  if (isEstimate) session.field('interval', rates.interval(measurement.interval))
  if (pages !== undefined)
    session.field('pages', `${count(pages)} ${isEstimate ? 'estimated' : 'distinct'}`)
  if (isEstimate) printSamples(session, measurement.sampling)
  if (mode === 'dirty-ring') printRings(session, measurement, rates)
  if (truth)
    session.field('truth', `${count(truth.low)} to ${count(truth.high)}, by the guest's own count`)
  const cost = costParts(measurement.cost)
  if (cost.length > 0) session.field('cost', cost.join(', '))
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
function costParts({ hashNs, startNs, syncNs, reapNs, longestLockNs, guest }: Cost = {}): string[] {
  const parts: [string, number | undefined][] = [
    ['hashing', hashNs],
    ['start', startNs],
    ['sync', syncNs],
    ['reap', reapNs],
    ['longest lock', longestLockNs],
  ]
  const times = parts.flatMap(([name, ns]) => (ns === undefined ? [] : [`${name} ${ms(ns)}`]))
  return guest === undefined ? times : [...times, ...guestParts(guest)]
}

const ACTIVITIES = {
  exitsPerSecond: 'exits',
  pageFaultsPerSecond: 'page faults',
  tlbFlushesPerSecond: 'TLB flushes',
} as const

/** What KVM counted before, during and after the window. */
function guestParts({ before, during, after }: GuestCost): string[] {
  return (Object.keys(ACTIVITIES) as (keyof typeof ACTIVITIES)[]).flatMap(key => {
    const rates = [before[key], during[key], after[key]]
    return rates.includes(undefined)
      ? []
      : [`${ACTIVITIES[key]} ${rates.map(rate => count(rate ?? 0)).join(' / ')} per s`]
  })
}
