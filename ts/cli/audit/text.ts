/** What `audit` prints. */

import type { Warning } from '../../results/warning.js'
import { median } from '../median.js'
import type { Rates } from '../rate-unit.js'
import type { Session } from '../session.js'
import { type Cell, type Column, Table } from '../table.js'
import { count, size } from '../text.js'
import { type AuditedLook, type Factor, type Factors, type Plan, slowestReading } from './looks.js'

const COLUMNS: readonly Column[] = [
  { title: 'mode', width: 13, essential: true },
  { title: 'samples', width: 7 },
  { title: 'window', width: 8, essential: true },
  { title: 'memory', width: 10, essential: true },
  { title: 'rate', width: 13, essential: true },
  { title: 'interval', width: 26 },
]
/** The column in which the explanations begin, behind the names of the factors. */
const MEANINGS_BEGIN = 11

export function auditTable(session: Session): Table {
  return new Table(COLUMNS, text => session.bold(text))
}

/** The cells of one look. */
export function rowOf(look: AuditedLook, rates: Rates): Cell[] {
  const { mode, samplesPerGiB, windowMs, read } = look
  const how = [
    mode,
    samplesPerGiB === undefined ? 'all' : count(samplesPerGiB),
    `${windowMs} ms`,
    read ? 'being read' : 'left alone',
  ]
  if ('refused' in look) return [...how, 'refused', '-']
  return [...how, rates.rate(median(look.bytesPerSecond)), rates.interval(look.interval)]
}

/** What an audit has found. */
interface Findings {
  readonly looks: readonly AuditedLook[]
  readonly factors: Factors
  readonly plan: Plan
  /** The speed of the link. */
  readonly bytesPerSecond: number
  readonly warnings: readonly Warning[]
}

export function explainAudit(
  session: Session,
  { looks, factors, plan, bytesPerSecond, warnings }: Findings,
): void {
  const { sampling, window, migration, together } = factors
  const refused = new Set(looks.flatMap(look => ('refused' in look ? [look.refused] : [])))
  session.print()
  for (const why of refused) session.field('refused', why)
  const show = (name: string, factor: Factor | undefined): void => {
    if (factor !== undefined) session.field(name, factorText(factor), MEANINGS_BEGIN)
  }
  show('sampling', sampling)
  show('window', window)
  show('migration', migration)
  show('together', together)
  const slowest = slowestReading(looks)
  if (slowest !== undefined)
    session.field('read at', `${size(slowest)}/s of ${size(bytesPerSecond)}/s`, MEANINGS_BEGIN)
  for (const { code, message } of warnings)
    session.field('warning', `${code}: ${message}`, MEANINGS_BEGIN)
  session.explain()
  if (Object.keys(factors).length === 0)
    session.explain('There are no factors, because some of the rates are 0 or were refused.')
  else explainFactors(session, plan, bytesPerSecond)
  if (plan.reference.mode === 'page-sampling')
    session.explain(
      'Sampling does not see a write that changes nothing. An exact mode of this target is used only if --mode names it, because it costs the guest something.',
    )
}

/** What each factor means. */
function explainFactors(
  session: Session,
  { reference, fewSamples, windowMs, shortMs }: Plan,
  bytesPerSecond: number,
): void {
  const by =
    reference.samplesPerGiB === undefined
      ? `the exact mode ${reference.mode} finds`
      : `${count(reference.samplesPerGiB)} samples per GiB find`
  const define = (name: string, meaning: string): void =>
    session.define(name, meaning, MEANINGS_BEGIN)
  define(
    'sampling',
    `what ${by}, over what ${count(fewSamples)} samples per GiB find, which is the default of QEMU and libvirt, both in ${windowMs} ms`,
  )
  if (windowMs !== shortMs)
    define(
      'window',
      `the rate in a window of ${shortMs} ms over that in ${windowMs} ms. A page that is written often counts once in a window, so a short window has the higher rate, and the last passes of a migration are short`,
    )
  define(
    'migration',
    `the rate while another process reads the memory at ${size(bytesPerSecond)}/s, as the source of a migration does, over the rate of a guest that is left alone`,
  )
  define(
    'together',
    'the product: what a rate by the default has to be multiplied with to be that of the last passes',
  )
}

/** `x 1.74 (1.70 to 1.79)` */
function factorText({ value, low, high }: Factor): string {
  return `x ${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)} in the rounds)`
}
