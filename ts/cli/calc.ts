/** `dirtyrate calc TARGET`: one measurement. */

import { parseWindow } from '../dirty-memory.js'
import { chooseMode } from '../measurement/mode.js'
import type { DirtyRateMeasurement, VirtualMachineMeasurement } from '../measurement/result.js'
import type { Mode } from '../qapi/types.js'
import { openTarget } from '../targets/open.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import type { Session } from './session.js'
import { count, mibPerSecond, ms } from './text.js'

export interface CalcOptions {
  mode: string
  window: string
}

export async function runCalc(session: Session, uri: string, options: CalcOptions): Promise<number> {
  // What is wrong with the command line is said before a VM is made.
  const window = parseWindow(options.window, '--window')
  const mode = chooseMode(options.mode as Mode | 'auto')
  const { signal } = session
  session.progress(`starting ${uri}`)
  const target = await openTarget(uri, { signal })
  try {
    session.progress(`measuring for ${options.window}`)
    const measurement = await target.measureDirtyRate({ window, mode, signal })
    printMeasurement(session, measurement)
    session.document(measurement)
    return measurement.complete ? EXIT_OK : EXIT_FAILED
  } finally {
    await target.close()
  }
}

function printMeasurement(session: Session, measurement: DirtyRateMeasurement): void {
  const { bytesPerSecond, pages, window, mode, complete, warnings, cost } = measurement
  const { truth }: VirtualMachineMeasurement = measurement
  session.print(
    `${session.bold(mibPerSecond(bytesPerSecond))}${complete ? '' : ' or more'}  ${measurement.target}`,
  )
  session.print(`mode     ${mode}`)
  session.print(`window   ${ms(window.ns)}`)
  if (pages !== undefined) session.print(`pages    ${count(pages)} distinct`)
  if (truth) session.print(`truth    ${count(truth.low)} to ${count(truth.high)}, by the guest's own count`)
  if (cost) {
    session.print(
      `cost     start ${ms(cost.startNs)}, sync ${ms(cost.syncNs)}, reap ${ms(cost.reapNs)}, longest lock ${ms(cost.longestLockNs)}`,
    )
  }
  for (const { code, message } of warnings) session.print(`warning  ${code}: ${message}`)
}
