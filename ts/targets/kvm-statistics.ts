/** What KVM counts for the vCPUs of a guest, which shows what a measurement costs the guest. */

import type { Signal } from '../ground/abort.js'
import { pause } from '../ground/pause.js'
import type { Baseline } from '../measurement/source.js'
import type { GuestActivity, GuestCost } from '../results/measurement.js'

/** KVM's names of each figure, the best one first: older kernels have only the later ones. */
const COUNTERS: Readonly<Record<keyof GuestActivity, readonly string[]>> = {
  exitsPerSecond: ['exits'],
  pageFaultsPerSecond: ['pf_taken', 'pf_fixed'],
  tlbFlushesPerSecond: ['tlb_flush'],
}

/** The names of the statistics that {@link guestCost} has a use for. */
export const STATISTICS: readonly string[] = Object.values(COUNTERS).flat()

/** The statistics at one instant, each the sum over all vCPUs. */
export interface Statistics {
  /** The instant, by a clock that only goes forward. */
  readonly atMs: number
  readonly counts: ReadonlyMap<string, number>
}

/** The statistics at the beginning and at the end of a time. */
export type Span = readonly [Statistics, Statistics]

/** The times in which a guest was observed: one or more windows, and around them. */
export interface Spans {
  readonly before?: Span
  readonly during: readonly Span[]
  readonly after?: Span
}

const MS_PER_SECOND = 1000
/** How long the guest is observed before a window, and after it. */
const BASELINE_MS = 100
const AROUND: Baseline = { before: true, after: true }

/**
 * Runs `measure`, and observes the guest meanwhile. Before it, and after it, are times in which the
 * guest is only observed, if `baseline` says so. `read` gives the statistics now, or undefined
 * where there are none. A guest without them, and a KVM that counts nothing, are not observed, and
 * that takes no time.
 */
export async function observed<T>(
  read: () => Promise<Statistics | undefined>,
  signal: Signal,
  measure: () => Promise<T>,
  baseline: Baseline = AROUND,
): Promise<{ result: T; spans?: Spans }> {
  const first = await read()
  if (first === undefined || [...first.counts.values()].every(count => count === 0))
    return { result: await measure() }
  const later = async (): Promise<Statistics | undefined> => {
    await pause(BASELINE_MS, signal)
    return read()
  }
  const opened = baseline.before ? await later() : first
  const result = await measure()
  const closed = await read()
  const last = baseline.after ? await later() : closed
  if (opened === undefined || closed === undefined || last === undefined) return { result }
  return {
    result,
    spans: {
      ...(baseline.before ? { before: [first, opened] } : {}),
      during: [[opened, closed]],
      ...(baseline.after ? { after: [closed, last] } : {}),
    },
  }
}

/** The times of several windows that were measured one after the other, as one. */
export function joined(windows: readonly (Spans | undefined)[]): Spans | undefined {
  const known = windows.filter(spans => spans !== undefined)
  if (known.length === 0 || known.length < windows.length) return undefined
  const { before } = known[0] ?? {}
  const { after } = known.at(-1) ?? {}
  return {
    ...(before === undefined ? {} : { before }),
    during: known.flatMap(({ during }) => during),
    ...(after === undefined ? {} : { after }),
  }
}

/**
 * How busy the guest kept KVM before the windows, within them, and after them. A counter that has
 * not moved in all that time counts nothing on this host, and is left out. So is one that went
 * back, as the sum does when a vCPU is unplugged. The result is undefined if none is left.
 */
export function guestCost({ before, during, after }: Spans): GuestCost | undefined {
  const all = [...(before ? [before] : []), ...during, ...(after ? [after] : [])]
  const [first, last] = [all[0]?.[0], all.at(-1)?.[1]]
  if (first === undefined || last === undefined) return undefined
  const goesOn = (name: string): boolean => all.every(span => (delta(span, name) ?? 0) >= 0)
  const moved = Object.entries(COUNTERS).flatMap(([figure, names]) => {
    const name = names.find(known => (delta([first, last], known) ?? 0) > 0 && goesOn(known))
    return name === undefined ? [] : [{ figure, name }]
  })
  if (moved.length === 0) return undefined
  const activity = (spans: readonly Span[]): GuestActivity =>
    Object.fromEntries(moved.map(({ figure, name }) => [figure, rate(spans, name)]))
  return {
    ...(before ? { before: activity([before]) } : {}),
    during: activity(during),
    ...(after ? { after: activity([after]) } : {}),
  }
}

function delta([from, to]: Span, name: string): number | undefined {
  const first = from.counts.get(name)
  const last = to.counts.get(name)
  return first === undefined || last === undefined ? undefined : last - first
}

function rate(spans: readonly Span[], name: string): number {
  const ms = spans.reduce((sum, [from, to]) => sum + to.atMs - from.atMs, 0)
  const counted = spans.reduce((sum, span) => sum + (delta(span, name) ?? 0), 0)
  return Math.round((counted * MS_PER_SECOND) / Math.max(ms, 1))
}
