/** A prediction in words. It runs in a browser too. */

import { count, measuredSize } from '../ground/readable.js'
import type { Figure } from './figure.js'
import type { MigrationPrediction } from './migration.js'
import type { WayOut } from './ways-out.js'

/** Milliseconds in the unit that fits: `85 ms`, `14.2 s`, `3.5 min`. */
export function duration(ms: number): string {
  if (ms < 10) return `${Number(ms.toFixed(2))} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  // An interval that somebody has chosen is whole minutes; of a figure its seconds matter longer.
  if (ms < 60_000 || (ms < 600_000 && ms % 60_000 !== 0))
    return `${Number((ms / 1000).toFixed(1))} s`
  if (ms < 7_200_000) return `${Number((ms / 60_000).toFixed(1))} min`
  return `${Number((ms / 3_600_000).toFixed(1))} h`
}

/** A bandwidth, in bits as links are sold, and in bytes. */
export function bandwidth(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8
  const [factor, unit] =
    bits >= 1e9 ? [1e9, 'Gbit/s'] : bits >= 1e6 ? [1e6, 'Mbit/s'] : [1e3, 'kbit/s']
  return `${Number((bits / factor).toPrecision(3))} ${unit} (${measuredSize(bytesPerSecond)}/s)`
}

/** A figure with its bounds, which are left out if they read the same. */
export function figure({ value, low, high }: Figure, show: (value: number) => string): string {
  const [middle, from, to] = [value, low, high].map(bound =>
    bound === null ? undefined : show(bound),
  )
  if (middle === undefined && from === undefined) return 'never'
  const main = middle ?? `at least ${from}`
  if (middle !== undefined && from === middle && to === middle) return main
  const upper = to === undefined ? 'without end' : to
  return middle === undefined ? `${main}, or without end` : `${main} (${from} to ${upper})`
}

/** The verdict in one sentence. */
export function sentence(prediction: MigrationPrediction): string {
  const { verdict, totalMs, downtimeMs, leastDowntimeMs, downtimeLimitMs } = prediction
  const link = bandwidth(prediction.bandwidthBytesPerSecond)
  const limit =
    downtimeLimitMs === null ? 'any downtime' : `a downtime of ${duration(downtimeLimitMs)}`
  if (verdict === 'converges') {
    const about = totalMs.value === null ? '' : ` in about ${duration(totalMs.value)}`
    const down =
      downtimeMs.value === null
        ? ''
        : `, and the guest stands still for ${duration(downtimeMs.value)}`
    return `The migration ends${about}${down}, at ${link} and ${limit}.`
  }
  const least = leastDowntimeMs.high ?? leastDowntimeMs.value
  const needs = least === null ? '' : ` It surely ends with a downtime of ${duration(least)}.`
  return verdict === 'stalls'
    ? `The migration does not end at ${link} and ${limit}.${needs}`
    : `The curve does not tell whether the migration ends at ${link} and ${limit}.${needs}`
}

const NONE: Figure = { value: null, low: null, high: null }

/** The figures of a way out, as what to do: `Allow 1.2 s`. */
export function wayFigures(way: WayOut): string {
  const { downtimeMs, bytesPerSecond, speed, ratio, totalMs, pagesMissingMs, faults, vcpus } = way
  const percent = (part: number): string => `${Math.round(part * 100)} %`
  const rate = (value: number): string => `${measuredSize(value)}/s`
  switch (way.kind) {
    case 'more-downtime':
      return `Allow ${worst(downtimeMs, duration)}`
    case 'more-bandwidth':
      return `Use ${worst(bytesPerSecond, bandwidth)}`
    case 'switchover-bandwidth':
      return `Set avail-switchover-bandwidth to ${worst(bytesPerSecond, bandwidth)}`
    case 'dirty-limit': {
      const each = (vcpus ?? [])
        .map(({ id, bytesPerSecond: limit }) => `vCPU ${id} to ${rate(limit)}`)
        .join(', ')
      const least = bytesPerSecond?.low ?? 0
      return `Limit the VM to ${rate(least)}, ${percent(speed?.low ?? 0)} of now${each === '' ? '' : ` (${each})`}`
    }
    case 'auto-converge':
      return `Throttle to ${way.throttlePercent} %`
    case 'compression':
      return [
        `Pages compress to ${worst(ratio, percent)}, as if the link carried ${figure(bytesPerSecond ?? NONE, rate)}`,
        ...(totalMs === undefined || totalMs.value === null
          ? []
          : [`It takes ${figure(totalMs, duration)}`]),
      ].join('. ')
    case 'post-copy':
      return `Pages are missing for ${worst(pagesMissingMs, duration)}, with at most ${worst(faults, value => count(Math.ceil(value)))} faults`
    case 'shutdown':
      return `The guest stands still for ${worst(downtimeMs, duration)}`
  }
}

/** The bound on the safe side. */
const worst = (given: Figure | undefined, show: (value: number) => string): string => {
  const bound = given?.high ?? given?.value ?? undefined
  return bound === undefined || bound === null ? 'more than can be said' : show(bound)
}
