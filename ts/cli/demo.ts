/** `dirtyrate demo`: a guest whose dirty pages are known, measured, with the truth beside each figure. What `npm start` runs. */

import { capabilities } from '../capabilities.js'
import { parseWindow } from '../dirty-memory.js'
import type { VirtualMachineMeasurement } from '../measurement/result.js'
import { parseCountText, parseSize } from '../units.js'
import { VirtualMachine } from '../virtual-machine.js'
import type { Workload } from '../workload.js'
import { EXIT_FAILED, EXIT_OK } from './exit.js'
import { type GuestOptions, guestOf } from './guest.js'
import type { Session } from './session.js'
import { count, mibPerSecond, ms, row, size } from './text.js'

export interface DemoOptions extends GuestOptions {
  window: string
  rounds: string
}

const COLUMNS = ['window', 'pages', 'rate', 'truth', 'agrees', 'start', 'sync', 'lock']
const WIDTHS = [11, 9, 13, 9, 9, 9, 9, 9]

export async function runDemo(session: Session, options: DemoOptions): Promise<number> {
  const memory = parseSize(options.memory, '--memory')
  const vcpus = parseCountText(options.vcpus, '--vcpus', 1)
  const window = parseWindow(options.window, '--window')
  const rounds = parseCountText(options.rounds, '--rounds', 1)
  const guest = guestOf(options)
  const { signal } = session
  const found = capabilities()
  session.progress('starting the guest')
  const vm = await VirtualMachine.create({ memory, vcpus, signal })
  try {
    await vm.load(guest)
    await vm.start()
    introduce(session, found, guest, memory, vcpus)
    session.print(session.bold(row(COLUMNS, WIDTHS)))
    const measurements: VirtualMachineMeasurement[] = []
    for (let round = 1; round <= rounds; round++) {
      session.progress(`measuring ${round} of ${rounds}`)
      const measurement = await vm.measureDirtyRate({ window, signal })
      measurements.push(measurement)
      session.print(rowOf(session, measurement))
    }
    const good = measurements.every(measurement => measurement.complete && agrees(measurement))
    explain(session, good, vcpus)
    session.document({
      schemaVersion: 1,
      capabilities: found,
      guest: { workload: guest.kind, pages: guest.pages, memoryBytes: memory, vcpus },
      measurements,
    })
    return good ? EXIT_OK : EXIT_FAILED
  } finally {
    await vm.close()
  }
}

/** Whether what KVM's log says lies within what the guest itself counted. */
export function agrees({ pages, truth }: VirtualMachineMeasurement): boolean {
  return truth !== undefined && pages !== undefined && truth.low <= pages && pages <= truth.high
}

function rowOf(session: Session, measurement: VirtualMachineMeasurement): string {
  const { window, pages = 0, bytesPerSecond, truth, cost } = measurement
  const exact = truth?.pages === pages
  const verdict = agrees(measurement) ? (exact ? 'exactly' : 'in bounds') : 'NO'
  const cells = [
    ms(window.ns),
    count(pages),
    mibPerSecond(bytesPerSecond),
    truth ? count(truth.pages) : 'unknown',
    verdict,
    ms(cost?.startNs ?? 0),
    ms(cost?.syncNs ?? 0),
    ms(cost?.longestLockNs ?? 0),
  ]
  return row(cells, WIDTHS).replace(verdict, session.verdict(agrees(measurement), verdict))
}

function introduce(
  session: Session,
  found: ReturnType<typeof capabilities>,
  guest: Workload,
  memory: number,
  vcpus: number,
): void {
  const rings =
    found.dirtyRingEntries > 0
      ? `dirty ring of up to ${count(found.dirtyRingEntries)} entries`
      : 'no dirty ring'
  const pace =
    guest.bytesPerSecond === undefined ? 'as fast as it can' : `at ${mibPerSecond(guest.bytesPerSecond)}`
  session.explain(
    'How fast does a virtual machine dirty its memory? A page is dirty once the guest has written to it, and a live',
  )
  session.explain(
    'migration must send it again: where pages get dirty faster than the network takes them, it never ends.',
  )
  session.explain()
  session.print(
    `KVM    API ${found.apiVersion} on ${found.arch}, manual dirty-log protect: ${found.manualDirtyLogProtect}, ${rings}`,
  )
  session.print(
    `guest  ${guest.kind}: ${count(guest.pages)} pages (${size(guest.pages * found.pageSize)}) written ${pace}, ${vcpus} vCPU${vcpus === 1 ? '' : 's'}, ${size(memory)} of memory`,
  )
  session.print()
}

function explain(session: Session, good: boolean, vcpus: number): void {
  session.explain()
  session.explain(
    'window  from the re-protection of the pages to the fetch of the log; a native thread keeps the time',
  )
  session.explain(
    `pages   distinct pages that KVM logged as written in that window, ${vcpus === 1 ? "the guest's page of counters" : 'a page of counters per vCPU'} included`,
  )
  session.explain('rate    the same in bytes, by the length of the window')
  session.explain(
    `truth   what the guest counted itself, read without KVM's log; it runs on meanwhile, so to within ${vcpus === 1 ? 'a page' : 'a page per vCPU'} at each end`,
  )
  session.explain(
    'start   turning the log on and protecting every page; sync: the fetch at the end; lock: the longest that a',
  )
  session.explain(
    '        vCPU could have had to wait for it. That is all that a measurement costs the guest, and one fault a page',
  )
  session.explain()
  session.print(
    session.verdict(
      good,
      good
        ? 'Every measurement agrees with what the guest really wrote.'
        : 'A measurement disagrees with what the guest wrote: that is a defect, please report it.',
    ),
  )
  session.explain()
  session.explain('Go on:  dirtyrate demo --workload random --rate 50MiB/s --window 250ms')
  session.explain('        dirtyrate calc guest:hot-cold,pages=50000,memory=2GiB --json')
}
