/** The measurements of an audit, and what their ratios say. Pure. */

import type { Interval } from '../../results/measurement.js'
import type { Mode } from '../../results/mode.js'
import type { Warning } from '../../results/warning.js'
import { median } from '../median.js'

/** One way in which the audit measures. */
export interface Look {
  readonly mode: Mode
  /** Page sampling only. */
  readonly samplesPerGiB?: number
  readonly windowMs: number
  /** Whether the memory is read meanwhile, as a migration does. */
  readonly read: boolean
}

/** A look that was taken, once in each round. */
export interface Taken extends Look {
  /** The rate of each round. */
  readonly bytesPerSecond: readonly number[]
  /** The interval of the round whose rate is the median. */
  readonly interval: Interval
  /** False if one of the measurements was incomplete. */
  readonly complete: boolean
  /** How fast the memory was really read: the median of the rounds. Only of a look that reads. */
  readonly readBytesPerSecond?: number
}

/** A look that the target refuses. */
export interface RefusedLook extends Look {
  readonly refused: string
}

export type AuditedLook = Taken | RefusedLook

/** By how much one look is higher than another one, over the rounds. */
export interface Factor {
  /** The median. */
  readonly value: number
  readonly low: number
  readonly high: number
}

/** What makes up the ratio between a rate during a migration and one before it. */
export interface Factors {
  /** The reference over page sampling as libvirt does it, in the same window. */
  readonly sampling?: Factor
  /** The short window over the usual one, both by the reference. */
  readonly window?: Factor
  /** With the memory being read over without, both by the reference in the short window. */
  readonly migration?: Factor
  /** All of it. */
  readonly together?: Factor
}

/** How an audit measures. */
export interface Plan {
  /** What the other looks are compared with. */
  readonly reference: { readonly mode: Mode; readonly samplesPerGiB?: number }
  /** As libvirt samples, and as much as QEMU can sample. */
  readonly fewSamples: number
  readonly manySamples: number
  readonly windowMs: number
  readonly shortMs: number
}

/** The looks of an audit, in the order in which they are taken in each round. */
export function looksOf({
  reference,
  fewSamples,
  manySamples,
  windowMs,
  shortMs,
}: Plan): readonly Look[] {
  const sampling = (samplesPerGiB: number): Look => ({
    mode: 'page-sampling',
    samplesPerGiB,
    windowMs,
    read: false,
  })
  const isExact = reference.mode !== 'page-sampling'
  const by = (ms: number, read: boolean): Look => ({ ...reference, windowMs: ms, read })
  return [
    sampling(fewSamples),
    ...(isExact ? [sampling(manySamples)] : []),
    ...(windowMs === shortMs ? [windowMs] : [windowMs, shortMs]).flatMap(ms => [
      by(ms, false),
      by(ms, true),
    ]),
  ]
}

/** A reader that is slower than this part of the link is no picture of a migration. */
const FAST_ENOUGH = 0.9

/** The lowest speed at which a look has read the memory; undefined if none has read it. */
export function slowestReading(looks: readonly AuditedLook[]): number | undefined {
  const speeds = looks.flatMap(look =>
    'refused' in look || look.readBytesPerSecond === undefined ? [] : [look.readBytesPerSecond],
  )
  return speeds.length === 0 ? undefined : Math.min(...speeds)
}

/** The warning if a look has read the memory more slowly than `asked`; otherwise nothing. */
export function slowReaderWarnings(looks: readonly AuditedLook[], asked: number): Warning[] {
  const slowest = slowestReading(looks)
  if (slowest === undefined || slowest >= asked * FAST_ENOUGH) return []
  const percent = Math.floor((100 * slowest) / asked)
  return [
    {
      code: 'SLOW_READER',
      message: `the memory was read at ${percent} % of the speed of the link, so that the factor of the migration may be too low`,
    },
  ]
}

/** The factors, as far as their looks were taken. */
export function factorsOf(looks: readonly AuditedLook[], plan: Plan): Factors {
  const find = (
    wanted: Omit<Look, 'samplesPerGiB'> & { samplesPerGiB?: number },
  ): Taken | undefined =>
    looks.find(
      (look): look is Taken =>
        !('refused' in look) &&
        look.mode === wanted.mode &&
        look.samplesPerGiB === wanted.samplesPerGiB &&
        look.windowMs === wanted.windowMs &&
        look.read === wanted.read,
    )
  const { reference, windowMs, shortMs, fewSamples } = plan
  const few = find({ mode: 'page-sampling', samplesPerGiB: fewSamples, windowMs, read: false })
  const usual = find({ ...reference, windowMs, read: false })
  const short = find({ ...reference, windowMs: shortMs, read: false })
  const migrating = find({ ...reference, windowMs: shortMs, read: true })
  const factors = {
    sampling: ratio(usual, few),
    window: ratio(short, usual),
    migration: ratio(migrating, short),
    together: ratio(migrating, few),
  }
  return Object.fromEntries(Object.entries(factors).filter(([, factor]) => factor !== undefined))
}

/** Undefined if a look is missing, or if a round has no rate to divide by. */
function ratio(of: Taken | undefined, over: Taken | undefined): Factor | undefined {
  if (of === undefined || over === undefined) return undefined
  const each = of.bytesPerSecond.map((rate, round) => rate / (over.bytesPerSecond[round] ?? 0))
  if (!each.every(Number.isFinite)) return undefined
  return { value: median(each), low: Math.min(...each), high: Math.max(...each) }
}
