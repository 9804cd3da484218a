/** What libvirt says of a domain, before anything is measured. */

import { performance } from 'node:perf_hooks'
import type { Signal } from '../../ground/abort.js'
import { DirtyRateError } from '../../ground/errors.js'
import { textOfXml } from '../../ground/xml.js'
import type { QemuVersion } from '../../qmp/greeting.js'
import type { MigrationProgress } from '../../results/migration.js'
import { STATISTICS, type Statistics } from '../kvm-statistics.js'
import type { LibvirtConnection } from './connection.js'
import { countIn, type Fields, odd, parseJob, usableCountIn } from './domain-stats.js'

/** Which domain it is. Neither changes while the domain exists. */
export interface Identity {
  readonly name: string
  readonly uuid: string
  /** Whether KVM runs its guest. */
  readonly kvm: boolean
}

/** What applies now. */
export interface DomainFacts {
  readonly state: string
  readonly running: boolean
  readonly vcpus: number
  readonly memoryBytes: number
  readonly version: QemuVersion
  readonly kvm: boolean
  readonly migration?: MigrationProgress
}

/** The values of `virDomainState`. */
const STATES = [
  'no state',
  'running',
  'blocked',
  'paused',
  'shutting down',
  'shut off',
  'crashed',
  'suspended by its guest',
]

/** The values of `virDomainJobOperation` that are no migration, as part of a sentence. */
const OPERATIONS: Readonly<Record<string, string>> = {
  1: 'is being started',
  2: 'is being saved',
  3: 'is being restored',
  6: 'has a snapshot made',
  7: 'is being reverted to a snapshot',
  8: 'has its memory dumped',
  9: 'is being backed up',
}
const MIGRATION_IN = 4
const MIGRATION_OUT = 5

/** Asks which domain `domain` is: a name, a UUID, or the number of a running domain. */
export async function identify(
  connection: LibvirtConnection,
  domain: string,
  signal?: Signal,
): Promise<Identity> {
  const asking = { domain, ...(signal === undefined ? {} : { signal }) }
  const xml = await connection.ask(['dumpxml'], asking)
  const text = (tag: string): string =>
    textOfXml(new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(xml)?.[1] ?? '')
  const kvm = /^<domain type='kvm'/.test(xml.trimStart())
  const [name, uuid] = [text('name'), text('uuid')]
  if (name === '' || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) {
    throw new DirtyRateError('ERR_QAPI', `virsh dumpxml printed no domain for '${domain}'`, {
      hint: 'Look whether virsh in PATH is the one of libvirt: command -v virsh.',
    })
  }
  return { name, uuid, kvm }
}

/** Asks for the facts. Nothing of it waits for a job of the domain. */
export async function readFacts(
  connection: LibvirtConnection,
  { name, uuid, kvm }: Identity,
  signal?: Signal,
): Promise<DomainFacts> {
  const asking = { domain: uuid, name, ...(signal === undefined ? {} : { signal }) }
  const [stats, job, version] = await Promise.all([
    connection.stats(['state', 'balloon', 'vcpu'], asking),
    jobOf(connection, asking),
    connection.qemuVersion(),
  ])
  const number = countIn(stats, 'state.state')
  const memoryKib = countIn(stats, 'balloon.maximum')
  if (number === undefined || memoryKib === undefined) throw saysNothing(name)
  const state = STATES[number]
  if (state === undefined) throw odd('domstats', `state.state=${number}`)
  const migration = migrationOf(job, name)
  return {
    state,
    running: state === 'running' || state === 'blocked',
    vcpus: countIn(stats, 'vcpu.current') ?? 0,
    memoryBytes: memoryKib * 1024,
    version,
    kvm,
    ...(migration === undefined ? {} : { migration }),
  }
}

/** The error for a domain without state or memory. libvirt gives both unless a job has it. */
function saysNothing(name: string): DirtyRateError {
  return new DirtyRateError(
    'ERR_TARGET_TIMEOUT',
    `libvirt says nothing about the domain '${name}': another job of libvirt has it`,
    {
      hint: 'virsh domjobinfo says which. Try again when it has ended.',
      details: { domain: name },
    },
  )
}

/** KVM's statistics of the vCPUs now; undefined where libvirt gives none. */
export async function readStatistics(
  connection: LibvirtConnection,
  { uuid, name: called }: Identity,
  signal: Signal,
): Promise<Statistics | undefined> {
  const stats = await connection.stats(['vcpu'], { domain: uuid, name: called, signal })
  const counts = new Map<string, number>()
  for (const key of stats.keys()) {
    const name = /^vcpu\.\d+\.(\w+)\.sum$/.exec(key)?.[1]
    if (name === undefined || !STATISTICS.includes(name)) continue
    const value = countIn(stats, key) ?? 0
    counts.set(name, (counts.get(name) ?? 0) + value)
  }
  return counts.size === 0 ? undefined : { atMs: performance.now(), counts }
}

/** What libvirt does with the domain now. */
async function jobOf(
  connection: LibvirtConnection,
  asking: { domain: string; name: string; signal?: Signal },
): Promise<Fields> {
  try {
    return parseJob(await connection.ask(['domjobinfo', '--rawstats'], asking))
  } catch (error) {
    const { virsh = '' } = (error as DirtyRateError).details ?? {}
    // A domain that is shut off has no job.
    if (/domain is not running/.test(String(virsh))) return new Map([['Job type', '0']])
    // The end to which a domain migrates has no figures, and the error says so.
    if (!/only on the source host/.test(String(virsh))) throw error
    return new Map([
      ['Job type', '2'],
      ['operation', String(MIGRATION_IN)],
    ])
  }
}

/**
 * The migration that a job is; undefined if there is no job. Throws ERR_STATE for a job of another
 * kind, because libvirt would let a measurement wait until that job ends.
 */
function migrationOf(job: Fields, name: string): MigrationProgress | undefined {
  const type = job.get('Job type') ?? ''
  if (type === '0' || type === 'None') return undefined
  const given = job.get('operation')
  const operation = given === undefined ? MIGRATION_OUT : usableCountIn(job, 'operation')
  if (!/^\d+$/.test(type) || operation === undefined)
    throw odd('domjobinfo', [...job].map(([key, value]) => `${key}: ${value}`).join(', '))
  if (operation !== MIGRATION_IN && operation !== MIGRATION_OUT) {
    const what = OPERATIONS[operation] ?? `has a job of libvirt (operation ${operation})`
    throw new DirtyRateError('ERR_STATE', `the domain '${name}' ${what}`, {
      hint: 'Measure when virsh domjobinfo says that the job has ended.',
    })
  }
  const figures = {
    elapsedMs: usableCountIn(job, 'time_elapsed'),
    remainingBytes: usableCountIn(job, 'memory_remaining'),
    transferredBytes: usableCountIn(job, 'memory_processed'),
    passes: usableCountIn(job, 'memory_iteration'),
    dirtyPagesPerSecond: usableCountIn(job, 'memory_dirty_rate'),
    pageSize: usableCountIn(job, 'memory_page_size'),
  }
  const known = Object.entries(figures).filter(([, value]) => value !== undefined)
  const status = operation === MIGRATION_OUT ? 'active' : 'incoming'
  return { status, underWay: true, ...Object.fromEntries(known) }
}
