/**
 * What makes a migration end that does not end by itself: each way with its figures and its cost.
 */

import type { Bounded } from '../results/curve.js'
import type { CurveInput } from './curve-input.js'
import { type Figure, figureOf, type Verdict } from './figure.js'
import { figuresOf } from './figures.js'
import { smallest } from './growth.js'
import { verdictOf } from './limits.js'
import type { Bound } from './model.js'
import { LONGEST_MS } from './options.js'
import { type VmmWay, vmmWays } from './profiles.js'
import { Scenarios } from './scenarios.js'

/** The ways out, in the order in which they are named. */
export const wayKinds = [
  'more-downtime',
  'more-bandwidth',
  'switchover-bandwidth',
  'dirty-limit',
  'auto-converge',
  'compression',
  'post-copy',
  'shutdown',
] as const

/** One way out. The figures that a way has depend on its kind. */
export interface WayOut {
  readonly kind: (typeof wayKinds)[number]
  /** The verdict if this way is taken. */
  readonly verdict: Verdict
  /** What it costs, in a sentence. */
  readonly cost: string
  /** more-downtime: the downtime to allow. post-copy, shutdown: how long the guest stands still. */
  readonly downtimeMs?: Figure
  /**
   * more-bandwidth: what the link has to carry. switchover-bandwidth: what to set. dirty-limit: how
   * fast the whole VM may dirty memory. compression: how fast pages have to be compressed, which is
   * the bandwidth as the migration sees it.
   */
  readonly bytesPerSecond?: Figure
  /** dirty-limit: the limit of each vCPU, the largest writers first. A vCPU below it has none. */
  readonly vcpus?: readonly { readonly id: number; readonly bytesPerSecond: number }[]
  /** dirty-limit, auto-converge: the speed that is left to the guest's writers, from 0 to 1. */
  readonly speed?: Figure
  /** auto-converge: the throttle at which it ends, in percent. */
  readonly throttlePercent?: number
  /** compression: the compressed size of a page, as a part of its size. */
  readonly ratio?: Figure
  /** compression: from the beginning until the guest runs at the destination. */
  readonly totalMs?: Figure
  /**
   * compression: how many channels, each with a CPU of its own, compress so fast. Absent if the
   * curve does not say how fast one CPU compresses.
   */
  readonly channels?: number
  /** post-copy: how long the guest runs while pages are missing. */
  readonly pagesMissingMs?: Figure
  /** post-copy: how often a vCPU may wait for a page, at most. */
  readonly faults?: Figure
}

/** The limit is set so that the migration ends with room to spare: it never ends at the edge. */
const ROOM = 0.8
/** QEMU's throttle begins at 20 % and grows by 10 % at a time, up to 99 %. */
const THROTTLES = [20, 30, 40, 50, 60, 70, 80, 90, 99]
/** A guest that is slower than this counts as stopped. */
const SLOWEST = 1e-4

/** Where the verdict of a migration changes. */
export interface Least {
  readonly leastDowntimeMs: Figure
  readonly leastBandwidthBytesPerSecond: Figure
}

/** All ways out of a migration that does not surely end. */
export function waysOutOf(scenarios: Scenarios, input: CurveInput, least: Least): WayOut[] {
  const { profile } = scenarios.wanted
  const byVmm: Readonly<Record<VmmWay, () => WayOut[]>> = {
    'dirty-limit': () => [dirtyLimit(scenarios)],
    'auto-converge': () => [autoConverge(scenarios)],
    compression: () => compression(scenarios, input),
    'post-copy': () => [postCopy(scenarios)],
  }
  return [
    ...moreDowntime(least.leastDowntimeMs),
    moreBandwidth(least.leastBandwidthBytesPerSecond),
    ...switchover(scenarios),
    ...vmmWays.filter(way => profile.waysOut.includes(way)).flatMap(way => byVmm[way]()),
    shutdown(scenarios),
  ]
}

function moreDowntime(downtimeMs: Figure): WayOut[] {
  // Nobody can allow more than this.
  if ((downtimeMs.low ?? Number.POSITIVE_INFINITY) > LONGEST_MS) return []
  return [
    {
      kind: 'more-downtime',
      verdict: downtimeMs.high === null || downtimeMs.high > LONGEST_MS ? 'uncertain' : 'converges',
      downtimeMs,
      cost: 'The guest may stand still for as long as this.',
    },
  ]
}

function moreBandwidth(bytesPerSecond: Figure): WayOut {
  return {
    kind: 'more-bandwidth',
    verdict: bytesPerSecond.high === null ? 'uncertain' : 'converges',
    bytesPerSecond,
    cost: 'The migration takes this much from the link.',
  }
}

/** If the link carries more than the limit, the last step may count on it. */
function switchover({ model, wanted, sweeps }: Scenarios): WayOut[] {
  const { linkBytesPerSecond: link, bytesPerSecond, profile, downtime } = wanted
  if (link === undefined || link <= bytesPerSecond || !profile.switchoverBandwidth) return []
  const set = new Scenarios(model, { ...wanted, switchoverBytesPerSecond: link }, sweeps)
  return [
    {
      kind: 'switchover-bandwidth',
      verdict: verdictOf(set, bytesPerSecond, downtime),
      bytesPerSecond: figureOf(link, []),
      cost: 'The last step takes the whole link while the guest stands still.',
    },
  ]
}

/** The largest speed of the writers, up to 1, at which the migration ends. */
function speedOf(scenarios: Scenarios): Figure {
  const { bytesPerSecond, downtime } = scenarios.wanted
  const threshold = ROOM * scenarios.threshold(bytesPerSecond, downtime)
  const largest = (bound: Bound): number =>
    1 /
    smallest(
      1,
      1 / SLOWEST,
      slowness => threshold >= scenarios.leftAt(bound, bytesPerSecond, 1 / slowness),
    )
  // A guest that dirties less may be slowed less.
  return figureOf(largest('value'), [largest('low'), largest('high')])
}

function dirtyLimit(scenarios: Scenarios): WayOut {
  const { wanted, model } = scenarios
  const speed = speedOf(scenarios)
  const measured = wanted.vcpus.reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0)
  // A dirty limit is a rate over one second, as QEMU measures it.
  const rate = measured > 0 ? measured : model.value.total.at(1) * model.pageSize
  const scaled = (part: number | null): number => (part ?? 0) * rate
  const bytesPerSecond = figureOf(scaled(speed.value), [scaled(speed.low), scaled(speed.high)])
  const vcpus = limitsOf(wanted.vcpus, bytesPerSecond.low ?? 0)
  return {
    kind: 'dirty-limit',
    verdict: (speed.low ?? 0) > 0 ? 'converges' : 'uncertain',
    bytesPerSecond,
    speed,
    ...(vcpus.length === 0 ? {} : { vcpus }),
    cost: 'The vCPUs that write most are stopped for a part of the time. QEMU needs a dirty ring for it.',
  }
}

/**
 * The same limit for each vCPU that writes more than it, so that all together write no more than
 * `most`.
 */
function limitsOf(
  vcpus: readonly { readonly id: number; readonly bytesPerSecond: number }[],
  most: number,
): { id: number; bytesPerSecond: number }[] {
  const sorted = [...vcpus].sort((a, b) => b.bytesPerSecond - a.bytesPerSecond)
  let rest = sorted.reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0)
  for (let count = 0; count < sorted.length; count++) {
    const next = sorted[count]?.bytesPerSecond ?? 0
    // The first `count` vCPUs have the limit. It is too low if the next one would need it as well.
    const limit = count > 0 ? (most - rest) / count : Number.POSITIVE_INFINITY
    if (count > 0 && limit >= next) return limited(sorted, count, limit)
    if (count === 0 && rest <= most) return []
    rest -= next
  }
  return limited(sorted, sorted.length, Math.max(most - rest, 0) / Math.max(sorted.length, 1))
}

const limited = (
  sorted: readonly { readonly id: number }[],
  count: number,
  limit: number,
): { id: number; bytesPerSecond: number }[] =>
  sorted.slice(0, count).map(({ id }) => ({ id, bytesPerSecond: Math.max(limit, 0) }))

function autoConverge(scenarios: Scenarios): WayOut {
  const { bytesPerSecond, downtime } = scenarios.wanted
  const at = (percent: number): Verdict =>
    verdictOf(scenarios, bytesPerSecond, downtime, 1 - percent / 100)
  const enough = THROTTLES.find(percent => at(percent) === 'converges')
  const most = THROTTLES.at(-1) ?? 99
  const speed = 1 - (enough ?? most) / 100
  return {
    kind: 'auto-converge',
    verdict: enough === undefined ? at(most) : 'converges',
    throttlePercent: enough ?? most,
    speed: figureOf(speed, []),
    cost: `All vCPUs run at ${Math.round(speed * 100)} % of their time, not only those that write.`,
  }
}

/**
 * How well the pages compress, and how many channels a link needs then; undefined if the curve does
 * not say it, or if some pages may become larger.
 */
export function compressionOf(
  { compressedRatio: ratio, compressionBytesPerSecond: perChannel }: CurveInput,
  bytesPerSecond: number,
): { ratio: Bounded; channels?: number } | undefined {
  if (ratio === undefined || ratio.high >= 1 || ratio.low <= 0) return undefined
  if (perChannel === undefined) return { ratio }
  // Each channel keeps a CPU busy, so the best case for the link is the worst one for the CPUs.
  return { ratio, channels: Math.ceil(bytesPerSecond / ratio.low / perChannel) }
}

/** Pages that are smaller on the link make it as if it carried so much more. */
function compression({ model, wanted, sweeps }: Scenarios, input: CurveInput): WayOut[] {
  const compressed = compressionOf(input, wanted.bytesPerSecond)
  if (compressed === undefined) return []
  const { ratio, channels } = compressed
  const { linkBytesPerSecond: link, switchoverBytesPerSecond: set } = wanted
  const at = (part: number): { verdict: Verdict; totalMs: Figure } => {
    const faster = {
      ...wanted,
      bytesPerSecond: wanted.bytesPerSecond / part,
      ...(link === undefined ? {} : { linkBytesPerSecond: link / part }),
      ...(set === undefined ? {} : { switchoverBytesPerSecond: set / part }),
    }
    const scenarios = new Scenarios(model, faster, sweeps)
    const verdict = verdictOf(scenarios, faster.bytesPerSecond, wanted.downtime)
    return { verdict, totalMs: figuresOf(scenarios, verdict).totalMs }
  }
  const [best, middle, worst] = [at(ratio.low), at(ratio.value), at(ratio.high)]
  const verdict = best.verdict === worst.verdict ? best.verdict : 'uncertain'
  const rate = (part: number): number => wanted.bytesPerSecond / part
  return [
    {
      kind: 'compression',
      verdict,
      ratio: figureOf(ratio.value, [ratio.low, ratio.high]),
      totalMs: {
        value: middle.totalMs.value,
        low: best.totalMs.low,
        high: verdict === 'converges' ? worst.totalMs.high : null,
      },
      bytesPerSecond: figureOf(rate(ratio.value), [rate(ratio.low), rate(ratio.high)]),
      ...(channels === undefined ? {} : { channels }),
      cost:
        channels === undefined
          ? 'Both hosts compute: each channel of multifd keeps a CPU busy.'
          : `Both hosts compute: ${channels === 1 ? 'one channel of multifd keeps a CPU' : `${channels} channels of multifd keep as many CPUs`} of the source busy.`,
    },
  ]
}

/** The switch to post-copy after the first pass. */
function postCopy(scenarios: Scenarios): WayOut {
  const { wanted, pageBytes } = scenarios
  const value = scenarios.probablePass(wanted.bytesPerSecond)
  const pages = scenarios.possiblePasses(wanted.bytesPerSecond).map(({ lastPages }) => lastPages)
  const ms = (count: number): number => ((count * pageBytes) / wanted.bytesPerSecond) * 1000
  // A vCPU waits at most once for each page that is missing, and only for pages that it uses.
  return {
    kind: 'post-copy',
    verdict: 'converges',
    downtimeMs: figureOf(wanted.deviceState * 1000, []),
    pagesMissingMs: figureOf(ms(value.lastPages), pages.map(ms)),
    faults: figureOf(value.lastPages, pages, 0),
    cost: 'The guest waits for each page that it touches too early, and is lost if a host or the link fails meanwhile.',
  }
}

function shutdown(scenarios: Scenarios): WayOut {
  const { wanted, model } = scenarios
  const { linkBytesPerSecond: link = wanted.bytesPerSecond } = wanted
  const ms = (pages: number): number =>
    scenarios.stoppedSeconds(pages, model.memoryPages - pages, link) * 1000
  const { value, low, high } = model.filledPages
  return {
    kind: 'shutdown',
    verdict: 'converges',
    downtimeMs: figureOf(ms(value), [ms(low), ms(high)]),
    cost: 'The guest stands still while all of its memory is copied, or is shut down and started again.',
  }
}
