/** Predictions as people read them. */

import type { Figure, Verdict } from '../../prediction/figure.js'
import type { MigrationPrediction } from '../../prediction/migration.js'
import type { SnapshotPrediction } from '../../prediction/snapshot.js'
import type { WayOut } from '../../prediction/ways-out.js'
import type { Session } from '../session.js'
import { type Cell, Table } from '../table.js'
import { count, measuredSize } from '../text.js'
import type { Matrix } from './matrix.js'

/** The column in which figures begin. */
const BEGIN = 18

const NEWS = { converges: 'good', stalls: 'bad', uncertain: 'doubtful' } as const

/** Milliseconds in the unit that fits: `85 ms`, `14.2 s`, `3.5 min`. */
export function duration(ms: number): string {
  if (ms < 10) return `${Number(ms.toFixed(2))} ms`
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 600_000) return `${Number((ms / 1000).toFixed(1))} s`
  return `${Number((ms / 60_000).toFixed(1))} min`
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

const NONE: Figure = { value: null, low: null, high: null }

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

export function printPrediction(session: Session, prediction: MigrationPrediction): void {
  const { verdict, profile } = prediction
  session.print(session.verdict(NEWS[verdict], verdict))
  session.explain(sentence(prediction))
  session.print()
  const field = (name: string, text: string): void => session.field(name, text, BEGIN)
  field('profile', profile)
  field('total time', figure(prediction.totalMs, duration))
  field('downtime', figure(prediction.downtimeMs, duration))
  field(
    'passes',
    figure(prediction.passes, value => count(Math.round(value))),
  )
  field('bytes', figure(prediction.bytes, measuredSize))
  field('least downtime', figure(prediction.leastDowntimeMs, duration))
  field('least bandwidth', figure(prediction.leastBandwidthBytesPerSecond, bandwidth))
  for (const { rounds, share, verdict: one } of prediction.phases ?? [])
    field('part of the time', `${one} for ${Math.round(share * 100)} % (${rounds} rounds)`)
  if (prediction.decision !== undefined) field('what decides', prediction.decision.message)
  if (prediction.waysOut.length > 0) {
    session.print()
    session.print(session.bold('ways out'))
    for (const way of prediction.waysOut) printWay(session, way)
  }
  session.explain()
  session.explain(
    'Each figure is the most probable one, with its bounds in parentheses. docs/prediction.md says what they stand for.',
  )
}

function printWay(session: Session, way: WayOut): void {
  const text = [wayFigures(way), way.cost].filter(part => part !== '').join('. ')
  session.field(way.kind, `${way.verdict === 'converges' ? '' : `${way.verdict}: `}${text}`, 22)
}

function wayFigures(way: WayOut): string {
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

/** A row for each downtime, a column for each bandwidth. */
export function printMatrix(session: Session, { profile, matrix }: Matrix): void {
  session.headline('migration', `profile ${profile}`)
  const text = (cell: Matrix['matrix'][number][number]): string =>
    cell.verdict === 'converges' && cell.totalMs.value !== null
      ? duration(cell.totalMs.value)
      : cell.verdict
  const short = (bytesPerSecond: number): string => bandwidth(bytesPerSecond).replace(/ \(.*/, '')
  const columns = [
    { title: 'downtime', width: 9, essential: true as const },
    ...(matrix[0] ?? []).map(({ bandwidthBytesPerSecond: rate }, at) => ({
      title: short(rate),
      width: Math.max(...matrix.map(row => (row[at] === undefined ? 0 : text(row[at]).length))),
      essential: true as const,
    })),
  ]
  const table = new Table(columns, line => session.bold(line))
  for (const row of matrix) {
    const limit = row[0]?.downtimeLimitMs ?? null
    const cells: Cell[] = [
      limit === null ? 'unlimited' : duration(limit),
      ...row.map(cell => ({
        text: text(cell),
        paint: (shown: string) => session.verdict(NEWS[cell.verdict], shown),
      })),
    ]
    for (const line of table.row(cells, session.columns)) session.print(line)
  }
  session.explain()
  session.explain(
    `A time is the total time of a migration that ends: ${legend('converges')}. The others say ${legend('stalls')}, or ${legend('uncertain')}.`,
  )
}

const LEGEND: Readonly<Record<Verdict, string>> = {
  converges: 'it ends within every bound of the curve',
  stalls: 'that it does not end',
  uncertain: 'that the curve does not tell',
}
const legend = (verdict: Verdict): string => LEGEND[verdict]

/** `measuredMs` is the longest window of the curve. */
export function printSnapshot(
  session: Session,
  prediction: SnapshotPrediction,
  measuredMs: number,
): void {
  const { bytes, extents, intervalMs, granuleBytes, writeAmplification, pauseMs, best } = prediction
  session.headline(
    `${measuredSize(bytes.value ?? 0)} for each snapshot`,
    `every ${duration(intervalMs)}, in units of ${measuredSize(granuleBytes)}`,
  )
  const field = (name: string, text: string): void => session.field(name, text, BEGIN)
  field('size', figure(bytes, measuredSize))
  if (extents !== undefined)
    field(
      'extents',
      figure(extents, value => count(Math.round(value))),
    )
  field(
    'amplification',
    figure(writeAmplification, value => `${value.toFixed(2)} times the pages`),
  )
  field('pause', figure(pauseMs, duration))
  field(
    'costs least',
    `every ${duration(best.intervalMs)} in units of ${measuredSize(best.granuleBytes)}: ${measuredSize(best.costBytesPerSecond)}/s`,
  )
  session.explain()
  session.explain('The pause is the time that writing takes, if the guest stands still for it.')
  if (intervalMs > measuredMs * 1.01) {
    session.explain(
      `The longest window of the curve is ${duration(measuredMs)}; what comes after it is an extrapolation. --windows can have longer ones.`,
    )
  }
}
