/**
 * `dirtyrate demo`: a guest whose dirty pages are known, measured in every mode that the machine
 * has, with the truth beside each figure. What `npm start` runs.
 */

import { parseCountText } from '../ground/arguments.js'
import { parseSize } from '../ground/units.js'
import { parseWindow } from '../measurement/windows.js'
import { capabilities } from '../targets/vm/capabilities.js'
import type { VirtualMachineMeasurement } from '../targets/vm/figures.js'
import { type DirtyLogKind, modesOf } from '../targets/vm/modes.js'
import { DEFAULT_RING_ENTRIES } from '../targets/vm/schemes.js'
import { VirtualMachine } from '../targets/vm/virtual-machine.js'
import type { Workload } from '../targets/vm/workload.js'
import { agrees, cellsOf, demoTable, explain, introduce } from './demo-text.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { type GuestOptions, guestOf } from './guest.js'
import { during } from './progress.js'
import { ratesOf } from './rate-unit.js'
import type { Session } from './session.js'

export interface DemoOptions extends GuestOptions {
  window: string
  rounds: string
  unit?: string
}

/** What all VMs of one demo have in common. */
interface Plan {
  guest: Workload
  memory: number
  vcpus: number
  window: number
  rounds: number
}

export async function runDemo(session: Session, options: DemoOptions): Promise<number> {
  const plan: Plan = {
    memory: parseSize(options.memory, '--memory'),
    vcpus: parseCountText(options.vcpus, '--vcpus', 1),
    window: parseWindow(options.window, '--window'),
    rounds: parseCountText(options.rounds, '--rounds', 1),
    guest: guestOf(options),
  }
  const rates = ratesOf(options.unit, session.options.json ? '--json' : undefined)
  const { guest, memory, vcpus } = plan
  const found = capabilities()
  const logs: DirtyLogKind[] = found.dirtyRingEntries > 0 ? ['bitmap', 'ring'] : ['bitmap']
  const measurements: VirtualMachineMeasurement[] = []
  const table = demoTable(session)
  for (const log of logs) {
    // One VM after the other: two guests that both write as fast as they can would slow each other
    // down.
    await measureVm(session, plan, log, found.dirtyRingEntries, measurement => {
      if (measurements.length === 0) introduce(session, found, guest, memory, vcpus, rates)
      measurements.push(measurement)
      for (const line of table.row(cellsOf(session, measurement, rates), session.columns))
        session.print(line)
    })
  }
  const good = measurements.every(agrees)
  explain(session, good, measurements, vcpus)
  session.document({
    capabilities: found,
    guest: { workload: guest.kind, pages: guest.pages, memoryBytes: memory, vcpus },
    measurements,
  })
  return good ? EXIT_OK : EXIT_FAILED
}

/**
 * Measures a VM with this log in each of its modes; page sampling, which needs no log, once for all
 * VMs.
 */
async function measureVm(
  session: Session,
  { guest, memory, vcpus, window, rounds }: Plan,
  log: DirtyLogKind,
  longestRing: number,
  each: (measurement: VirtualMachineMeasurement) => void,
): Promise<void> {
  const { signal } = session
  session.progress(`starting the guest with a dirty ${log}`)
  const ringEntries = Math.min(DEFAULT_RING_ENTRIES, longestRing)
  const vm = await VirtualMachine.create({
    memory,
    vcpus,
    dirtyLog: log === 'ring' ? { ringEntries } : 'bitmap',
    signal,
  })
  try {
    await vm.load(guest)
    await vm.start()
    for (const mode of modesOf(log)) {
      if (mode === 'page-sampling' && log === 'ring') continue
      for (let round = 1; round <= rounds; round++) {
        const text = `measuring by ${mode}, ${round} of ${rounds}`
        each(
          await during(session, text, window, () => vm.measureDirtyRate({ window, mode, signal })),
        )
      }
    }
  } finally {
    await vm.close()
  }
}
