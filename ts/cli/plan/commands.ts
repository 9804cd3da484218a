/** A plan as commands of virsh, which somebody copies: nothing here runs them. */

import type { MigrationPlan } from '../../prediction/plan/plan.js'
import type { PlannedMigration } from '../../prediction/plan/timetable.js'
import { duration } from '../../prediction/words.js'
import { shellWord, visible } from '../text.js'
import type { Domain } from './domain.js'

export interface CommandOptions {
  /** The domains, by the names that the plan has for them. */
  readonly domains: ReadonlyMap<string, Domain>
  /** The libvirt of the destination. */
  readonly to: string
  /** What one migration may carry. */
  readonly mostBytesPerSecond: number
}

/** virsh takes bandwidths in MiB/s. */
const MIB = 2 ** 20
/** What virsh takes for the number or the UUID of another domain. */
const AMBIGUOUS = /^(\d+|[\da-f]{8}(-?[\da-f]{4}){3}-?[\da-f]{12})$/i

/** The lines of a script. The lanes of a stage run beside each other. */
export function commandsOf(plan: MigrationPlan, options: CommandOptions): string[] {
  const { migrations, staying } = plan
  const count = Math.max(0, ...migrations.map(({ stage }) => stage))
  const stages = Array.from({ length: count }, (_, at) =>
    stageLines(
      migrations.filter(({ stage }) => stage === at + 1),
      options,
    ),
  )
  const stays = staying.map(({ name, reason }) => `# ${visible(name)} stays. ${reason}`)
  return [...stages.flatMap((lines, at) => [`# Stage ${at + 1} of ${count}`, ...lines]), ...stays]
}

function stageLines(migrations: readonly PlannedMigration[], options: CommandOptions): string[] {
  const lanes = [...new Set(migrations.map(({ lane }) => lane))].map(lane =>
    migrations.filter(one => one.lane === lane).flatMap(one => migrationLines(one, options)),
  )
  const [only = []] = lanes
  if (lanes.length === 1) return only
  return [...lanes.flatMap(lines => ['(', ...lines.map(line => `  ${line}`), ') &']), 'wait']
}

function migrationLines(one: PlannedMigration, options: CommandOptions): string[] {
  const { domains, to, mostBytesPerSecond } = options
  const { name, connect, withoutCommand } = domains.get(one.name) ?? { name: one.name }
  const time = one.totalMs.value === null ? '' : `, about ${duration(one.totalMs.value)}`
  const note = `# ${visible(one.name)}: ${one.method}${time}`
  const without = AMBIGUOUS.test(name)
    ? 'virsh takes this name for a number or a UUID. Rename the VM.'
    : withoutCommand
  if (without !== undefined) return [note, `# There is no command for it: ${without}`]
  const virsh = ['virsh', ...(connect === undefined ? [] : [`--connect=${connect}`])]
  const most = String(Math.max(Math.floor(mostBytesPerSecond / MIB), 1))
  const command = (...words: string[]): string => [...virsh, ...words].map(shellWord).join(' ')
  const migrate = command(
    'migrate',
    ...WORDS[one.method](one, most),
    `--bandwidth=${most}`,
    `--domain=${name}`,
    `--desturi=${to}`,
  )
  if (one.downtimeLimitMs === undefined) return [note, migrate]
  const limit = `--downtime=${Math.max(Math.floor(one.downtimeLimitMs), 1)}`
  return [
    note,
    `${command('migrate-setmaxdowntime', `--domain=${name}`, limit)} &&`,
    `  ${migrate}`,
  ]
}

/** What virsh needs for each method. Without --live the guest stands still. */
const WORDS: Readonly<
  Record<PlannedMigration['method'], (one: PlannedMigration, most: string) => string[]>
> = {
  live: () => ['--live'],
  'more-downtime': () => ['--live'],
  compression: ({ channels }) => [
    '--live',
    '--parallel',
    ...(channels === undefined ? [] : [`--parallel-connections=${channels}`]),
    '--compressed',
    '--comp-methods=zstd',
  ],
  'post-copy': (_, most) => [
    '--live',
    '--postcopy',
    '--postcopy-after-precopy',
    `--postcopy-bandwidth=${most}`,
  ],
  shutdown: () => [],
}
