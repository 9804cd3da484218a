/** What the demo prints. */

import type { Capabilities } from '../capabilities.js'
import type { VirtualMachineMeasurement } from '../measurement/result.js'
import type { Workload } from '../workload.js'
import type { Session } from './session.js'
import { count, mibPerSecond, ms, rateInterval, row, size } from './text.js'

const COLUMNS = ['mode', 'window', 'pages', 'rate', 'interval', 'truth', 'error', 'duplicates', 'cost']
const WIDTHS = [13, 11, 9, 13, 27, 9, 9, 10, 9]

/** The table's first line. */
export const TITLES: string = row(COLUMNS, WIDTHS)

/**
 * Whether the figure is right: an exact one lies within what the guest itself counted. An estimate is never wrong by itself: its
 * interval misses now and then, as its confidence says.
 */
export function agrees({ mode, pages, truth, complete }: VirtualMachineMeasurement): boolean {
  if (mode === 'page-sampling') return complete
  return complete && truth !== undefined && pages !== undefined && truth.low <= pages && pages <= truth.high
}

/** One measurement's line. */
export function rowOf(session: Session, measurement: VirtualMachineMeasurement): string {
  const { mode, pages = 0, bytesPerSecond, interval, truth, ring, cost } = measurement
  const error = errorOf(measurement)
  const spent = cost?.hashNs ?? (cost?.startNs ?? 0) + (cost?.syncNs ?? 0) + (cost?.reapNs ?? 0)
  const cells = [
    mode,
    ms(measurement.window.ns),
    count(pages),
    mibPerSecond(bytesPerSecond),
    rateInterval(interval),
    truth ? count(truth.pages) : 'unknown',
    error,
    ring ? count(ring.duplicates) : '-',
    ms(spent),
  ]
  return row(cells, WIDTHS).replace(` ${error}`, ` ${session.verdict(agrees(measurement), error)}`)
}

/** How far from the truth: of an exact figure whether it is within what the guest counted, of an estimate by how much it is off. */
function errorOf(measurement: VirtualMachineMeasurement): string {
  const { mode, pages = 0, truth, complete } = measurement
  if (truth === undefined) return 'unknown'
  if (!complete) return 'at least'
  if (mode !== 'page-sampling') {
    if (!agrees(measurement)) return 'NO'
    return truth.pages === pages ? 'exactly' : 'in bounds'
  }
  if (truth.pages === 0) return pages === 0 ? 'exactly' : 'too many'
  const percent = ((pages - truth.pages) / truth.pages) * 100
  return `${percent >= 0 ? '+' : ''}${percent.toFixed(1)} %`
}

export function introduce(
  session: Session,
  found: Capabilities,
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

export function explain(
  session: Session,
  good: boolean,
  measurements: readonly VirtualMachineMeasurement[],
  vcpus: number,
): void {
  const modes = new Set(measurements.map(({ mode }) => mode))
  session.explain()
  session.explain(
    `pages      distinct pages written in one window, ${vcpus === 1 ? "the guest's page of counters" : 'a page of counters per vCPU'} included`,
  )
  session.explain('rate       the same in bytes, by the length of the window, which a native thread keeps')
  session.explain(
    `truth      what the guest counted itself, read without KVM's log; it runs on meanwhile, so to within ${vcpus === 1 ? 'a page' : 'a page per vCPU'} at each end`,
  )
  if (modes.has('page-sampling')) {
    session.explain(
      'interval   page sampling looks at a few pages only: 95 of 100 of its intervals hold the truth. Writes that change nothing it',
    )
    session.explain('           does not see at all')
  }
  if (modes.has('dirty-ring')) {
    session.explain(
      'duplicates ring entries for a page that the same vCPU had an entry for: entries are not pages',
    )
  }
  session.explain(
    'cost       turning the log on, fetching and counting it; of page sampling, hashing the pages twice',
  )
  session.explain()
  session.print(
    session.verdict(
      good,
      good
        ? 'Every exact measurement agrees with what the guest really wrote.'
        : 'An exact measurement disagrees with what the guest wrote: that is a defect, please report it.',
    ),
  )
  session.explain()
  session.explain(
    'Go on:  dirtyrate curve guest:random,pages=100000,memory=2GiB --windows 50ms,100ms,200ms,500ms,1s',
  )
  session.explain('        dirtyrate watch guest:hot-cold,pages=50000,rate=100MiB/s --every 500ms --count 10')
}
