/** What KVM counts for the vCPUs of a guest, which shows what a measurement costs the guest. */

import type { Signal } from '../ground/abort.js'
import { pause } from '../ground/pause.js'
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

const MS_PER_SECOND = 1000
/** How long the guest is observed before a window, and after it. */
const BASELINE_MS = 100

/**
 * Runs `measure` between two times in which the guest is only observed. `read` gives the statistics
 * now, or undefined where there are none. A guest without them, and a KVM that counts nothing, give
 * no cost, and cost no time.
 */
export async function observed<T>(
  read: () => Promise<Statistics | undefined>,
  signal: Signal,
  measure: () => Promise<T>,
): Promise<{ result: T; cost?: GuestCost }> {
  const first = await read()
  if (first === undefined || [...first.counts.values()].every(count => count === 0))
    return { result: await measure() }
  await pause(BASELINE_MS, signal)
  const opened = await read()
  const result = await measure()
  const closed = await read()
  await pause(BASELINE_MS, signal)
  const last = await read()
  if (opened === undefined || closed === undefined || last === undefined) return { result }
  const spans: [Span, Span, Span] = [
    [first, opened],
    [opened, closed],
    [closed, last],
  ]
  const cost = guestCost(...spans)
  return { result, ...(cost === undefined ? {} : { cost }) }
}

/**
 * How busy the guest kept KVM before the window, within it, and after it. A counter that has not
 * moved in all that time counts nothing on this host, and is left out. So is one that went back, as
 * the sum does when a vCPU is unplugged. The result is undefined if none is left.
 */
export function guestCost(before: Span, during: Span, after: Span): GuestCost | undefined {
  const spans = [before, during, after]
  const goesOn = (name: string): boolean => spans.every(span => (delta(span, name) ?? 0) >= 0)
  const moved = Object.entries(COUNTERS).flatMap(([figure, names]) => {
    const name = names.find(
      known => (delta([before[0], after[1]], known) ?? 0) > 0 && goesOn(known),
    )
    return name === undefined ? [] : [{ figure, name }]
  })
  if (moved.length === 0) return undefined
  const activity = (span: Span): GuestActivity =>
    Object.fromEntries(moved.map(({ figure, name }) => [figure, rate(span, name)]))
  return { before: activity(before), during: activity(during), after: activity(after) }
}

function delta([from, to]: Span, name: string): number | undefined {
  const first = from.counts.get(name)
  const last = to.counts.get(name)
  return first === undefined || last === undefined ? undefined : last - first
}

function rate(span: Span, name: string): number {
  const ms = Math.max(span[1].atMs - span[0].atMs, 1)
  return Math.round(((delta(span, name) ?? 0) * MS_PER_SECOND) / ms)
}
