/** Plans as people read them. */

import type { MigrationPlan } from '../../prediction/plan/plan.js'
import { bandwidth, duration, figure } from '../../prediction/words.js'
import type { Session } from '../session.js'
import { Table } from '../table.js'
import { count, visible, widthOf } from '../text.js'

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
}

/** The VMs of the host that the plan is not about. */
export function printUnplanned(
  session: Session,
  unplanned: readonly { readonly name: string; readonly reason: string }[],
): void {
  if (unplanned.length === 0) return
  session.print()
  const are = unplanned.length === 1 ? 'is' : 'are'
  session.print(session.verdict('doubtful', `${vms(unplanned.length)} ${are} not planned`))
  for (const { name, reason } of unplanned) session.field(name, reason, BEGIN)
}

/** How old the curves are that the plan is made of. */
export function printAges(
  session: Session,
  { newestMs, oldestMs }: { readonly newestMs: number; readonly oldestMs: number },
): void {
  session.print()
  const [newest, oldest] = [duration(newestMs), duration(oldestMs)]
  session.field('curves', `${newest === oldest ? newest : `${newest} to ${oldest}`} old`, BEGIN)
}

/** All hosts together. */
export function printSum(
  session: Session,
  made: readonly (Pick<MigrationPlan, 'migrations' | 'staying'> & {
    readonly unplanned: readonly object[]
  })[],
): void {
  const sum = (of: (plan: (typeof made)[number]) => number): string =>
    count(made.reduce((all, plan) => all + of(plan), 0))
  const [go, stay, not] = [
    sum(({ migrations }) => migrations.length),
    sum(({ staying }) => staying.length),
    sum(({ unplanned }) => unplanned.length),
  ]
  session.print()
  session.print(`${count(made.length)} hosts: ${go} VMs go, ${stay} stay, ${not} are not planned`)
}

/** The words of a plan. */
export function explainPlan(session: Session): void {
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
    width: Math.max(...rows.map(row => widthOf(row[at] ?? ''))),
    ...(at < 3 ? { essential: true as const } : {}),
    ...(title === 'VM' || title === 'method' ? { left: true as const } : {}),
  }))
  session.print()
  const table = new Table(columns, line => session.bold(line))
  for (const row of rows) for (const line of table.row(row, session.columns)) session.print(line)
}
