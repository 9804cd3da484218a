/** Predictions as people read them. */

import type { Verdict } from '../../prediction/figure.js'
import type { Matrix } from '../../prediction/matrix.js'
import type { MigrationPrediction } from '../../prediction/migration.js'
import type { SnapshotPrediction } from '../../prediction/snapshot.js'
import type { WayOut } from '../../prediction/ways-out.js'
import { bandwidth, duration, figure, sentence, wayFigures } from '../../prediction/words.js'
import type { Session } from '../session.js'
import { type Cell, Table } from '../table.js'
import { count, measuredSize } from '../text.js'

/** The column in which figures begin. */
const BEGIN = 18

const NEWS = { converges: 'good', stalls: 'bad', uncertain: 'doubtful' } as const

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
