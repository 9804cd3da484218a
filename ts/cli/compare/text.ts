/** What `compare` prints. */

import type { Mode } from '../../results/mode.js'
import type { Workload } from '../../targets/vm/workload.js'
import { median } from '../median.js'
import type { Rates } from '../rate-unit.js'
import type { Session } from '../session.js'
import { type Cell, type Column, Table } from '../table.js'
import { count, measuredSize, ms, size } from '../text.js'
import type { Observed, ObservedRound } from './observed.js'
import type { Tool } from './peer.js'
import { certainError, type RateError } from './truth.js'

const COLUMNS: readonly Column[] = [
  { title: 'tool', width: 15, essential: true },
  { title: 'mode', width: 13, essential: true },
  { title: 'rate', width: 13, essential: true },
  { title: 'truth', width: 20, essential: true },
  { title: 'error', width: 15 },
  { title: 'worst', width: 8 },
  { title: 'CPU', width: 9 },
  { title: 'memory', width: 9 },
  { title: 'slow-down', width: 9 },
]
/** The column of the text in which the meaning of a table's column begins, behind its title. */
const MEANINGS_BEGIN = 11
/** The column of the text in which the facts about the guest begin. */
const NAMES_BEGIN = 7

export function compareTable(session: Session): Table {
  return new Table(COLUMNS, text => session.bold(text))
}

export function introduceComparison(
  session: Session,
  guest: Workload,
  memoryBytes: number,
  vcpus: number,
  rates: Rates,
): void {
  const pace =
    guest.bytesPerSecond === undefined
      ? 'as fast as it can'
      : `at ${rates.rate(guest.bytesPerSecond)} by its own clock`
  const writes =
    guest.pages === 0 ? 'writes nothing' : `${count(guest.pages)} pages written ${pace}`
  session.field(
    'guest',
    `${guest.kind}: ${writes}, ${vcpus} vCPU${vcpus === 1 ? '' : 's'}, ${size(memoryBytes)} of memory`,
    NAMES_BEGIN,
  )
  session.print()
}

/** A mode of a tool that was not measured. */
export interface Refused {
  readonly tool: Tool
  readonly mode: Mode
  /** Why not, as a part of a sentence. */
  readonly refused: string
}

/** The cells of a tool in one mode. Figures of several rounds are medians. */
export function rowOf(session: Session, result: Observed | Refused, rates: Rates): Cell[] {
  return 'refused' in result
    ? [nameOf(result.tool), result.mode, 'refused', '-', '-', '-', '-', '-', '-']
    : observedRow(session, result, rates)
}

function observedRow(session: Session, observed: Observed, rates: Rates): Cell[] {
  const { tool, mode, rounds, cpuNs, memoryBytes } = observed
  const of = (figure: (round: ObservedRound) => number | null): number[] =>
    rounds.map(figure).filter(value => value !== null)
  const errors = rounds.map(({ error }) => error).filter(error => error !== null)
  // The median of the lower ends is a lower end of the median, and so for the upper ends.
  const ends = (end: (round: ObservedRound) => number): number => median(of(end))
  return [
    nameOf(tool),
    mode,
    rates.rate(ends(({ bytesPerSecond }) => bytesPerSecond)),
    between(
      ends(({ truth }) => truth.bytesPerSecond.low),
      ends(({ truth }) => truth.bytesPerSecond.high),
      bytesPerSecond => rates.rate(bytesPerSecond),
    ),
    errors.length === 0
      ? '-'
      : between(
          median(errors.map(({ low }) => low)),
          median(errors.map(({ high }) => high ?? Number.POSITIVE_INFINITY)),
          percent,
        ),
    errors.length === 0 ? '-' : worstOf(errors),
    ms(cpuNs),
    measuredSize(memoryBytes),
    percent(median(of(({ slowDown }) => slowDown))),
  ].map(text => (rounds.every(({ complete }) => complete) ? text : { text, paint: bad(session) }))
}

/** An interval, whose ends have their unit once: `99.4 to 100.2 MiB/s`. */
function between(low: number, high: number, text: (end: number) => string): string {
  const [from, to] = [text(low), text(high)]
  if (from === to) return to
  if (high === Number.POSITIVE_INFINITY) return `${from} or more`
  return `${from.slice(0, from.indexOf(' '))} to ${to}`
}

/** The largest error of any round that is certain. */
function worstOf(errors: readonly RateError[]): string {
  const worst = errors
    .map(certainError)
    .reduce((far, one) => (Math.abs(one) > Math.abs(far) ? one : far), 0)
  return worst === 0 ? 'none' : percent(worst)
}

const bad =
  (session: Session) =>
  (text: string): string =>
    session.verdict('bad', text)

export function nameOf({ name, version }: Tool): string {
  return `${name} ${version}`.trim()
}

export function explainComparison(
  session: Session,
  refused: readonly Refused[],
  { windowMs, rounds }: { windowMs: number; rounds: number },
): void {
  if (refused.length > 0) session.print()
  for (const { tool, mode, refused: why } of refused)
    session.print(`${nameOf(tool)} was not measured by ${mode}: ${why}.`)
  const define = (column: string, meaning: string): void =>
    session.define(column, meaning, MEANINGS_BEGIN)
  session.explain()
  define('rate', `the median of ${rounds} measurement${rounds === 1 ? '' : 's'} of ${windowMs} ms`)
  define(
    'truth',
    "the distinct pages that the guest wrote in this window by its own count, as a rate: exact to a page of each vCPU for dirtyrate, and between bounds for QEMU. The count is read from the guest's memory at both ends of a window of dirtyrate. QEMU does not say when exactly its window begins and ends, so that the count is read shortly before, within and after it. The busier the host, the wider are these bounds",
  )
  define(
    'error',
    'the median error of the rate, between the bounds that the truth gives it. QEMU rounds its rate down to whole MiB/s',
  )
  define(
    'worst',
    'the largest error that is certain: how far the rate of a measurement is outside of its truth. "none" if no rate is outside',
  )
  define('CPU', "the CPU time of a measurement, without that of the guest's vCPUs: a mean")
  define('memory', 'the most by which the memory of the process grew in a measurement')
  define(
    'slow-down',
    'the share of its writes that the guest did not make while it was measured, compared with the time before and after',
  )
}

function percent(share: number): string {
  const text = (share * 100).toFixed(1)
  return `${Number(text) === 0 ? '0.0' : share > 0 ? `+${text}` : text} %`
}
