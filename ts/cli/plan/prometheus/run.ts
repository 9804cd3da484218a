/** `dirtyrate plan --prometheus URL`: a plan for each host, from the figures of its Prometheus. */

import { argumentError } from '../../../ground/errors.js'
import { parseDuration } from '../../../ground/units.js'
import type { Task } from '../../../prediction/plan/options.js'
import type { MigrationPlan } from '../../../prediction/plan/plan.js'
import { plan } from '../../../prediction/plan/plan.js'
import { EXIT_FAILED, EXIT_OK } from '../../exit.js'
import type { Session } from '../../session.js'
import { visible } from '../../text.js'
import { commandsOf } from '../commands.js'
import { explainPlan, printAges, printPlan, printSum, printUnplanned } from '../text.js'
import { type AccessOptions, readAccess } from './access.js'
import { PrometheusClient } from './client.js'
import { curvesAt, findHosts, type HostOptions, parseHosts } from './hosts.js'
import { namesOf } from './names.js'

export interface PrometheusOptions extends AccessOptions, HostOptions {
  readonly maxAge: string
}

/** A VM of the host that the plan is not about. */
export interface Unplanned {
  readonly name: string
  readonly reason: string
}

/** How old the curves of a plan are. */
export interface Ages {
  readonly newestMs: number
  readonly oldestMs: number
}

interface HostPlan extends MigrationPlan {
  readonly host: string
  /** Absent if no curve is used. */
  readonly ages?: Ages
  readonly unplanned: readonly Unplanned[]
  readonly commands?: readonly string[]
}

/** So old a curve may be without --max-age: three times as old as serve lets it become. */
export const MAX_AGE = '15min'
const LONGEST_AGE_MS = 30 * 86_400_000

export async function runFromPrometheus(
  session: Session,
  task: Task,
  options: PrometheusOptions,
  { memoryBytes, to }: { memoryBytes: number | undefined; to: string | undefined },
): Promise<number> {
  session.streamDocuments()
  const choice = parseHosts(options)
  const mostAgeMs = parseAge(options.maxAge)
  const client = new PrometheusClient(await readAccess(options, session.signal), session.signal)
  const note = (text: string): void => session.note(text)
  session.progress('looking for hosts')
  const { hosts, missing } = await findHosts(client, choice, note)
  const made: HostPlan[] = []
  for (const host of hosts) {
    session.progress(`planning ${host}`)
    const curves = await curvesAt(client, host, choice, { mostAgeMs, memoryBytes }, note)
    const names = namesOf([...curves.known, ...curves.unknown].map(({ target }) => target))
    const nameOf = (target: string): string => names.get(target)?.name ?? target
    const vms = curves.known.map(({ target, input }) => ({ name: nameOf(target), input }))
    const of = plan(vms, task)
    const ages = curves.known.map(({ ageMs }) => ageMs)
    const one: HostPlan = {
      host,
      ...of,
      ...(ages.length === 0
        ? {}
        : { ages: { newestMs: Math.min(...ages), oldestMs: Math.max(...ages) } }),
      unplanned: curves.unknown.map(({ target, reason }) => ({ name: nameOf(target), reason })),
      ...(to === undefined
        ? {}
        : {
            commands: commandsOf(of, {
              domains: new Map([...names.values()].map(({ name, domain }) => [name, domain])),
              to,
              mostBytesPerSecond: task.wanted.bytesPerSecond,
            }),
          }),
    }
    show(session, one, made.length === 0)
    session.document(one)
    made.push(one)
  }
  if (to === undefined) printEnd(session, made)
  for (const host of missing)
    note(`${host} had figures within the last hour, and has none now: it is not planned.`)
  const isWhole = missing.length === 0 && made.every(({ unplanned }) => unplanned.length === 0)
  return isWhole ? EXIT_OK : EXIT_FAILED
}

function parseAge(text: string): number {
  const isAge = (ms: number): boolean => ms > 0 && ms <= LONGEST_AGE_MS
  const ms = parseDuration(text, '--max-age', isAge)
  if (isAge(ms)) return ms
  throw argumentError(`--max-age: '${text}' is out of range`, 'Give at most 720h.')
}

function show(session: Session, made: HostPlan, isFirst: boolean): void {
  if (!isFirst) session.print()
  if (made.commands !== undefined) {
    session.print(`# Host ${visible(made.host)}: run this there.`)
    for (const line of made.commands) session.print(line)
    for (const { name, reason } of made.unplanned)
      session.print(`# ${visible(name)} is not planned. ${visible(reason)}`)
    return
  }
  session.print(session.bold(`host ${visible(made.host)}`))
  printPlan(session, made)
  printUnplanned(session, made.unplanned)
  if (made.ages !== undefined) printAges(session, made.ages)
}

function printEnd(session: Session, made: readonly HostPlan[]): void {
  if (made.length > 1) printSum(session, made)
  explainPlan(session)
}
