/** `dirtyrate plan`: how to empty a host, from curves of its VMs. */

import { parseCountText } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { parseCurve } from '../prediction/input.js'
import { memoryOf } from '../prediction/options.js'
import { type PlanMethod, parsePlanOptions, type Task } from '../prediction/plan/options.js'
import { type CheckedVm, plan } from '../prediction/plan/plan.js'
import { EXIT_OK } from './exit.js'
import { commandsOf } from './plan/commands.js'
import { curveFiles, domainOf } from './plan/curve-files.js'
import type { Domain } from './plan/domain.js'
import { HOST_LABEL } from './plan/prometheus/hosts.js'
import { MAX_AGE, runFromPrometheus } from './plan/prometheus/run.js'
import { explainPlan, printPlan } from './plan/text.js'
import { readCurveFile } from './predict/curve-file.js'
import { flagOf } from './predict/flag.js'
import type { Session } from './session.js'

export interface PlanCommandOptions {
  bandwidth: string
  downtime: string
  methods?: string
  mostDowntime?: string
  bandwidthPerVm?: string
  parallel?: string
  overhead?: string
  channels?: string
  profile?: string
  deviceState?: string
  memory?: string
  commands: boolean
  to?: string
  prometheus?: string
  host?: string
  hostLabel?: string
  match?: string
  maxAge?: string
  tokenFile?: string
  basicAuthFile?: string
  caFile?: string
}

export async function runPlan(
  session: Session,
  curves: readonly string[],
  options: PlanCommandOptions,
): Promise<number> {
  const to = destination(options)
  const task = taskOf(options)
  const memoryBytes =
    options.memory === undefined ? undefined : memoryOf(options.memory, '--memory')
  const { prometheus } = options
  if (prometheus !== undefined) {
    if (curves.length > 0) {
      throw argumentError(
        `curve: '${curves[0]}' is given beside --prometheus`,
        'Give one of the two: saved curves, or a Prometheus that has them.',
      )
    }
    const { hostLabel = HOST_LABEL, maxAge = MAX_AGE } = options
    const from = { ...options, prometheus, hostLabel, maxAge }
    return runFromPrometheus(session, task, from, { memoryBytes, to })
  }
  refuseWithoutPrometheus(options)
  if (curves.length === 0) {
    throw argumentError(
      "missing required argument 'curve'",
      'Give files of curves, which dirtyrate curve --save writes, or --prometheus URL.',
    )
  }
  const vms: Vm[] = []
  for (const file of await curveFiles(curves)) {
    session.signal.throwIfAborted()
    vms.push(await readVm(file, memoryBytes, session.signal))
  }
  const made = plan(vms, task)
  if (to === undefined) {
    printPlan(session, made)
    explainPlan(session)
    session.document(made)
    return EXIT_OK
  }
  const domains = new Map(vms.map(({ name, domain }) => [name, domain]))
  const commands = commandsOf(made, { domains, to, mostBytesPerSecond: task.wanted.bytesPerSecond })
  for (const line of commands) session.print(line)
  session.document({ ...made, commands })
  return EXIT_OK
}

/** The options that say which figures of a Prometheus are taken. */
const OF_PROMETHEUS = [
  'host',
  'hostLabel',
  'match',
  'maxAge',
  'tokenFile',
  'basicAuthFile',
  'caFile',
] as const satisfies (keyof PlanCommandOptions)[]

function refuseWithoutPrometheus(options: PlanCommandOptions): void {
  const given = OF_PROMETHEUS.find(name => options[name] !== undefined)
  if (given === undefined) return
  throw argumentError(
    `${flagOf(given)}: it is for --prometheus only`,
    'Leave it out, or add --prometheus URL.',
  )
}

interface Vm extends CheckedVm {
  readonly domain: Domain
}

async function readVm(
  file: string,
  memoryBytes: number | undefined,
  signal: AbortSignal,
): Promise<Vm> {
  const document = await readCurveFile(file, 'curve', signal)
  const input = parseCurve(document, file)
  const domain = domainOf(document, file)
  const knows = input.memoryBytes !== undefined || input.regions.length > 0
  const memory = knows || memoryBytes === undefined ? {} : { memoryBytes }
  return { name: domain.name, input, domain, ...memory }
}

function taskOf(options: PlanCommandOptions): Task {
  const { bandwidth, downtime, methods, mostDowntime, bandwidthPerVm, overhead } = options
  const { profile, deviceState } = options
  const countOf = (name: 'parallel' | 'channels'): number | undefined =>
    options[name] === undefined ? undefined : parseCountText(options[name], `--${name}`, 1)
  const given = {
    bandwidth,
    downtime,
    // The words are checked with the other options.
    methods: methods?.split(',').map(method => method.trim() as PlanMethod),
    mostDowntime,
    bandwidthPerVm,
    parallel: countOf('parallel'),
    overhead,
    channels: countOf('channels'),
    profile,
    deviceState,
  }
  return parsePlanOptions(given, flagOf)
}

/** The destination of the commands; undefined if none are wanted. */
function destination({ commands, to }: PlanCommandOptions): string | undefined {
  if (commands && (to === undefined || to === '')) {
    throw argumentError(
      '--to: it is missing',
      'Give the libvirt of the destination: --to qemu+ssh://other/system.',
    )
  }
  if (!commands && to !== undefined)
    throw argumentError('--to: it is for --commands only', 'Leave it out, or add --commands.')
  return to
}
