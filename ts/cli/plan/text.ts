/** Plans as people read them. */

import type { MigrationPlan } from '../../prediction/plan/plan.js'
import { bandwidth, duration, figure } from '../../prediction/words.js'
import type { Session } from '../session.js'
import { Table } from '../table.js'
import { count, visible } from '../text.js'

/** The column in which figures begin. */
const BEGIN = 18

export function printPlan(session: Session, plan: MigrationPlan): void {
  const { migrations, staying, totalMs, oneByOneMs } = plan
  const link = bandwidth(plan.bandwidthBytesPerSecond)
  session.headline(`${vms(migrations.length)} in ${figure(totalMs, duration)}`, `over ${link}`)
  if (migrations.length > 1) session.field('one by one', duration(oneByOneMs), BEGIN)
  if (migrations.length > 0) printMigrations(session, plan)
  if (staying.length > 0) {
    session.print()
    session.print(
      session.verdict('bad', `${vms(staying.length)} ${staying.length === 1 ? 'stays' : 'stay'}`),
    )
    for (const { name, reason } of staying) session.field(name, reason, BEGIN)
  }
  session.explain()
  session.explain(
    'A stage begins when the one before is over. The lanes of a stage share the link, and the migrations of a lane run one after the other. docs/planning.md says more.',
  )
}

const vms = (number: number): string => (number === 1 ? '1 VM' : `${count(number)} VMs`)

function printMigrations(session: Session, { migrations }: MigrationPlan): void {
  const rows = migrations.map(({ stage, lane, startMs, name, method, totalMs, downtimeMs }) => [
    `${stage}.${lane}`,
    visible(name),
    method,
    startMs.value === null ? '' : duration(startMs.value),
    figure(totalMs, duration),
    downtimeMs.high === null ? '' : duration(downtimeMs.high),
  ])
  const titles = ['lane', 'VM', 'method', 'after', 'takes', 'stands still']
  const columns = titles.map((title, at) => ({
    title,
    width: Math.max(...rows.map(row => row[at]?.length ?? 0)),
    ...(at < 3 ? { essential: true as const } : {}),
  }))
  session.print()
  const table = new Table(columns, line => session.bold(line))
  for (const row of rows) for (const line of table.row(row, session.columns)) session.print(line)
}
