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

const COLUMNS: readonly Column[] = [
  { title: 'tool', width: 15, essential: true },
  { title: 'mode', width: 13, essential: true },
  { title: 'rate', width: 13, essential: true },
  { title: 'truth', width: 13, essential: true },
  { title: 'error', width: 8, essential: true },
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
  const errors = of(({ error }) => error)
  const worst = errors.reduce((far, one) => (Math.abs(one) > Math.abs(far) ? one : far), 0)
  return [
    nameOf(tool),
    mode,
    rates.rate(median(of(({ bytesPerSecond }) => bytesPerSecond))),
    rates.rate(median(of(({ truth }) => truth.bytesPerSecond))),
    errors.length === 0 ? '-' : percent(median(errors)),
    errors.length === 0 ? '-' : percent(worst),
    ms(cpuNs),
    measuredSize(memoryBytes),
    percent(median(of(({ slowDown }) => slowDown))),
  ].map(text => (rounds.every(({ complete }) => complete) ? text : { text, paint: bad(session) }))
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
    "distinct pages by the guest's own count of its writes, which is read from its memory, in a window of the same length. The guest is taken to write evenly. On a busy machine it does not, and then the truth itself is off by some percent",
  )
  define('error', 'the median error of the rate. QEMU rounds its rate down to whole MiB/s')
  define('worst', 'the error that is farthest from 0')
  define('CPU', "the CPU time of a measurement, without that of the guest's vCPUs: a mean")
  define('memory', 'the most by which the memory of the process grew in a measurement')
  define(
    'slow-down',
    'the share of its writes that the guest did not make while it was measured, compared with the time before and after',
  )
}

function percent(share: number): string {
  return `${share >= 0 ? '+' : ''}${(share * 100).toFixed(1)} %`
}
