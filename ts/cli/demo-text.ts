/** What the demo prints. */

import type { DirtyRateMeasurement } from '../qapi/info.js'
import type { Capabilities } from '../targets/vm/reports.js'
import type { Workload } from '../targets/vm/workload.js'
import type { Rates } from './rate-unit.js'
import type { Session } from './session.js'
import { type Cell, type Column, Table } from './table.js'
import { count, ms, size, wrap } from './text.js'

const COLUMNS: readonly Column[] = [
  { title: 'mode', width: 13, essential: true },
  { title: 'window', width: 11 },
  { title: 'pages', width: 9, essential: true },
  { title: 'rate', width: 13, essential: true },
  { title: 'interval', width: 27 },
  { title: 'truth', width: 9, essential: true },
  { title: 'error', width: 9, essential: true },
  { title: 'duplicates', width: 10 },
  { title: 'cost', width: 9 },
]
/** The column of the text in which the meaning of a table's column begins, behind its title. */
const MEANINGS_BEGIN = 11
/** The column of the text in which the facts about KVM and the guest begin, behind their names. */
const NAMES_BEGIN = 7

export function demoTable(session: Session): Table {
  return new Table(COLUMNS, text => session.bold(text))
}

/**
 * Whether the figure is right. An exact figure is right if it lies within what the guest itself
 * counted. An estimate never counts as wrong, because its interval misses the truth now and then,
 * as often as its confidence says.
 */
export function agrees({ mode, pages, truth, complete }: DirtyRateMeasurement): boolean {
  if (mode === 'page-sampling') return complete
  return (
    complete &&
    truth !== undefined &&
    pages !== undefined &&
    truth.low <= pages &&
    pages <= truth.high
  )
}

/** One measurement's cells. */
export function cellsOf(session: Session, measurement: DirtyRateMeasurement, rates: Rates): Cell[] {
  const { mode, pages = 0, bytesPerSecond, interval, truth, cost = {} } = measurement
  const { hashNs = 0, startNs = 0, syncNs = 0, reapNs = 0 } = cost
  const spent = hashNs + startNs + syncNs + reapNs
  return [
    mode,
    ms(measurement.window.ns),
    count(pages),
    rates.rate(bytesPerSecond),
    rates.interval(interval),
    truth ? count(truth.pages) : 'unknown',
    { text: errorOf(measurement), paint: text => paintError(session, measurement, text) },
    measurement.mode === 'dirty-ring' && measurement.ring
      ? count(measurement.ring.duplicates)
      : '-',
    ms(spent),
  ]
}

/**
 * Colours the error. An exact figure is right or wrong. An estimate is neither, but it is
 * remarkable if its interval misses the truth, or if it found nothing at all.
 */
function paintError(session: Session, measurement: DirtyRateMeasurement, text: string): string {
  const { mode, interval, truth, window, pages, pageSize = 1 } = measurement
  if (mode !== 'page-sampling' || !agrees(measurement))
    return session.verdict(agrees(measurement) ? 'good' : 'bad', text)
  if (truth === undefined) return text
  const rateOf = (count: number): number => (count * pageSize) / (window.ns / 1e9)
  const isInside =
    interval.low <= rateOf(truth.high) && rateOf(truth.low) <= (interval.high ?? Infinity)
  return isInside && (pages !== 0 || truth.low === 0) ? text : session.verdict('doubtful', text)
}

/**
 * The error of a figure: for an exact figure whether it lies within what the guest counted, and for
 * an estimate by how much it is off.
 */
function errorOf(measurement: DirtyRateMeasurement): string {
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
  rates: Rates,
): void {
  const rings =
    found.dirtyRingEntries > 0
      ? `dirty ring of up to ${count(found.dirtyRingEntries)} entries`
      : 'no dirty ring'
  const pace =
    guest.bytesPerSecond === undefined
      ? 'as fast as it can'
      : `at ${rates.rate(guest.bytesPerSecond)}`
  session.explain(
    'How fast does a virtual machine dirty its memory? A page is dirty once the guest has written to it, and a live migration must send it again. If pages get dirty faster than the network takes them, the migration never ends.',
  )
  session.explain()
  session.field(
    'KVM',
    `API ${found.apiVersion} on ${found.arch}, manual dirty-log protect: ${found.manualDirtyLogProtect}, ${rings}`,
    NAMES_BEGIN,
  )
  session.field(
    'guest',
    `${guest.kind}: ${count(guest.pages)} pages (${size(guest.pages * found.pageSize)}) written ${pace}, ${vcpus} vCPU${vcpus === 1 ? '' : 's'}, ${size(memory)} of memory`,
    NAMES_BEGIN,
  )
  session.print()
}

export function explain(
  session: Session,
  good: boolean,
  measurements: readonly DirtyRateMeasurement[],
  vcpus: number,
): void {
  const modes = new Set(measurements.map(({ mode }) => mode))
  const define = (column: string, meaning: string): void =>
    session.define(column, meaning, MEANINGS_BEGIN)
  session.explain()
  const { titles, columns } = demoTable(session).leftOut(session.columns)
  if (titles.length > 0) {
    session.explain(`A terminal of ${columns} columns has room for more: ${titles.join(', ')}.`)
    session.explain()
  }
  define(
    'pages',
    `distinct pages written in one window, ${vcpus === 1 ? "the guest's page of counters" : 'a page of counters per vCPU'} included`,
  )
  define(
    'rate',
    'the same pages in bytes, divided by the length of the window, which a native thread keeps',
  )
  define(
    'truth',
    "what the guest counted itself, read without KVM's log. The guest writes on while its count is read, so this can be off by a few pages; an exact figure lies between what it surely and what it possibly wrote",
  )
  if (modes.has('page-sampling')) {
    define(
      'interval',
      'page sampling looks at a few pages only, so its figure has an error. 95 of 100 of its intervals contain the truth. It does not see writes that change nothing',
    )
  }
  if (modes.has('dirty-ring')) {
    define(
      'duplicates',
      'ring entries for a page that the same vCPU had an entry for: entries are not pages',
    )
  }
  define(
    'cost',
    'turning the log on, fetching it and counting its pages; for page sampling, hashing the pages twice',
  )
  session.explain()
  for (const line of wrap(
    good
      ? 'Every exact measurement agrees with what the guest really wrote.'
      : 'An exact measurement disagrees with what the guest wrote: that is a defect, please report it.',
    session.columns ?? Number.POSITIVE_INFINITY,
  )) {
    session.print(session.verdict(good ? 'good' : 'bad', line))
  }
  if (session.options.quiet) return
  // Commands stay whole, so that they can be copied.
  session.print()
  session.print('Go on:  dirtyrate curve guest:random,pages=100000 --windows 50ms,200ms,1s')
  session.print('        dirtyrate watch guest:hot-cold,rate=100MiB/s --every 500ms --count 10')
}
