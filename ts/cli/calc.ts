/** `dirtyrate calc TARGET`: one measurement. */

import { parseWindow } from '../measurement/windows.js'
import type { DirtyRateMeasurement, VirtualMachineMeasurement } from '../results/measurement.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { during } from './progress.js'
import { type Rates, ratesOf } from './rate-unit.js'
import type { Session } from './session.js'
import { type ModeOptions, parseModeOptions, printHmp, refuseHmpAndJson, withTarget } from './target.js'
import { count, ms } from './text.js'
import { parseWait, type WaitOptions, waitBefore } from './wait.js'

export interface CalcOptions extends ModeOptions, WaitOptions {
  window: string
  unit?: string
  hmp: boolean
}

export async function runCalc(session: Session, uri: string, options: CalcOptions): Promise<number> {
  // What is wrong with the command line is said before a VM is made.
  const window = parseWindow(options.window, '--window')
  const mode = parseModeOptions(options)
  const wait = parseWait(options)
  refuseHmpAndJson(session, options.hmp)
  const rates = ratesOf(options.unit, session.options.json ? '--json' : options.hmp ? '--hmp' : undefined)
  const { signal } = session
  return withTarget(session, uri, mode.mode, async target => {
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
  const { bytesPerSecond, pages, window, mode, complete, warnings, cost } = measurement
  const { sampling, ring, vcpus = [] } = measurement
  const { truth }: VirtualMachineMeasurement = measurement
  session.headline(`${rates.rate(bytesPerSecond)}${complete ? '' : ' or more'}`, measurement.target)
  session.field('mode', mode)
  session.field('window', ms(window.ns))
  if (sampling) session.field('interval', rates.interval(measurement.interval))
  if (pages !== undefined) session.field('pages', `${count(pages)} ${sampling ? 'estimated' : 'distinct'}`)
  if (sampling) {
    session.field(
      'samples',
      `${count(sampling.samples)}, of which ${count(sampling.hits)} changed and ${count(sampling.zeroPages)} are zero`,
    )
  }
  if (ring) {
    session.field(
      'ring',
      `${count(ring.entries)} entries, ${count(ring.duplicates)} duplicates, ${count(ring.sharedPages)} pages shared, ${count(ring.lost)} lost`,
    )
  }
  for (const vcpu of vcpus) {
    session.field(`vCPU ${vcpu.id}`, `${rates.rate(vcpu.bytesPerSecond)}, ${count(vcpu.pages)} pages`)
  }
  if (truth) session.field('truth', `${count(truth.low)} to ${count(truth.high)}, by the guest's own count`)
  if (cost?.hashNs !== undefined) session.field('cost', `hashing ${ms(cost.hashNs)}`)
  else if (cost) {
    session.field(
      'cost',
      `start ${ms(cost.startNs)}, sync ${ms(cost.syncNs)}, reap ${ms(cost.reapNs)}, longest lock ${ms(cost.longestLockNs)}`,
    )
  }
  for (const { code, message } of warnings) session.field('warning', `${code}: ${message}`)
}
