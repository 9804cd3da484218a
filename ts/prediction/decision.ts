/** For an uncertain verdict: the measurement that would decide. */

import type { CurveInput } from './curve-input.js'
import type { Scenarios } from './scenarios.js'

/** A measurement that decides, or why none does. */
export interface Decision {
  /** How to measure; absent if the mode does not matter, or if no measurement decides. */
  readonly mode?: 'dirty-bitmap' | 'page-sampling'
  /** With page sampling: how many pages to look at per GiB. */
  readonly samplesPerGiB?: number
  /** The longest window that is needed. */
  readonly seconds?: number
  /** The shortest window that is needed, in milliseconds. */
  readonly shortestWindowMs?: number
  /** Whether the curve has to be measured by region. */
  readonly regions?: true
  /** The same in a sentence. */
  readonly message: string
}

const SAMPLES_PER_GIB = 512
const MOST_SAMPLES_PER_GIB = 16_384
const LONGEST_SECONDS = 60

/** What would decide whether the migration ends. */
export function decisionOf(scenarios: Scenarios, input: CurveInput): Decision {
  const { wanted, model } = scenarios
  const { bytesPerSecond, downtime } = wanted
  if (!input.stationary) {
    return {
      message:
        'The guest changed while it was measured. Measure again in the hours in which the migration is to run.',
    }
  }
  const threshold = scenarios.threshold(bytesPerSecond, downtime)
  const { value, low, high } = scenarios.left(bytesPerSecond)
  const round = model.high.total.lastAbove(bytesPerSecond / scenarios.pageBytes)
  const [first, last] = [input.points[0]?.seconds ?? 0, input.points.at(-1)?.seconds ?? 0]
  const seconds = Math.min(Math.max(Math.ceil(1.5 * round), 1), LONGEST_SECONDS)
  if (round > last && last < LONGEST_SECONDS) {
    return {
      seconds,
      message: `Measure a window of ${seconds} s: the curve ends at ${last} s.`,
    }
  }
  const isExact = input.points.every(
    ({ confidence, low, high }) => confidence === 1 && low === high,
  )
  if (!isExact) return sharper(threshold, { value, low, high }, seconds)
  const shortestWindowMs = Math.max(Math.floor(Math.min(downtime, round) * 500), 1)
  if (first * 1000 > 2 * shortestWindowMs) {
    return {
      shortestWindowMs,
      message: `Measure a window of ${shortestWindowMs} ms: the curve begins at ${first * 1000} ms.`,
    }
  }
  if (!model.hasRegions && wanted.profile.clearing !== 'pass-start') {
    return {
      regions: true,
      seconds,
      message:
        'Measure by region, as dirtyrate curve does of a target pid:N, or libvirt:NAME,outside=yes. Where the dirty pages are decides.',
    }
  }
  return {
    message:
      'The migration is at the edge: small changes of the guest or of the link decide, and no measurement can. Take one of the ways out.',
  }
}

/** More samples, or an exact mode where even the most samples are too few. */
function sharper(
  threshold: number,
  { value, low, high }: { value: number; low: number; high: number },
  seconds: number,
): Decision {
  const distance = Math.abs(threshold - value)
  const spread = threshold > value ? high - value : value - low
  // The width of an interval shrinks with the square root of the samples.
  const factor = distance > 0 ? (spread / distance) ** 2 : Number.POSITIVE_INFINITY
  const samples = 2 ** Math.ceil(Math.log2(SAMPLES_PER_GIB * Math.max(factor, 1) * 1.2))
  if (samples <= MOST_SAMPLES_PER_GIB) {
    return {
      mode: 'page-sampling',
      samplesPerGiB: samples,
      seconds,
      message: `Measure again with ${samples} samples per GiB (--sample-pages ${samples}) and windows up to ${seconds} s.`,
    }
  }
  return {
    mode: 'dirty-bitmap',
    seconds,
    message: `Measure exactly (--mode dirty-bitmap) with windows up to ${seconds} s: no number of samples decides.`,
  }
}
