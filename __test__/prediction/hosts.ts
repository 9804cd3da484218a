/**
 * Hosts whose VMs write by known rules, and what becomes of them: by a plan, and by simple orders.
 */

import {
  type MigrationPlan,
  type PlanMethod,
  type PlanOptions,
  type PredictionCurve,
  planMigrations,
} from '../../ts/prediction/index.js'
import { type MigrationProfile, parseProfile } from '../../ts/prediction/profiles.js'
import { type HostJob, type Left, simulateHost } from './host-simulator.js'
import {
  both,
  type Guest,
  type Memory,
  packedPages,
  randomFrom,
  spreadPages,
  uniform,
} from './writers.js'

export const PAGE = 4096
const CHUNK_PAGES = 256
/** What the link carries, in pages per second. */
const LINK = 2048
const DOWNTIME = 0.3
const WINDOWS = Array.from({ length: 40 }, (_, at) => 0.01 * 6000 ** (at / 39))

/** A profile whose chunks are as small as this memory. */
const PROFILE: MigrationProfile = parseProfile({
  ...parseProfile('qemu'),
  headerBytes: 0,
  zeroPageBytes: 0,
  zeroPageNs: 0,
  clearing: { chunkBytes: CHUNK_PAGES * PAGE },
})

export interface HostVm {
  name: string
  pages: number
  guest: Guest
  /** How fast it writes, in pages per second. */
  rate: number
  curve: PredictionCurve
}

export interface SimulatedHost {
  vms: readonly HostVm[]
  options: PlanOptions
}

/** A host with so many VMs. Some of them are idle, some busy, and some too busy to go live. */
export function hostOf(
  count: number,
  seed: number,
  perVm: number,
  overhead: number,
): SimulatedHost {
  const random = randomFrom(seed)
  const vms = Array.from({ length: count }, (_, at) => vmOf(`vm${at}`, at, random))
  return {
    vms,
    options: {
      bandwidth: LINK * PAGE,
      bandwidthPerVm: LINK * PAGE * perVm,
      downtime: DOWNTIME * 1000,
      methods: ['live', 'post-copy'],
      parallel: count,
      overhead: overhead * 1000,
      profile: PROFILE,
    },
  }
}

function vmOf(name: string, at: number, random: () => number): HostVm {
  const memory: Memory = { chunks: 2 + Math.floor(random() * 14), chunkPages: CHUNK_PAGES }
  const pages = memory.chunks * CHUNK_PAGES
  // Every fifth VM writes faster than the link carries.
  const rate = at % 5 === 4 ? LINK * (1 + random()) : LINK * 0.4 * random() ** 2
  const hot = Math.max(Math.floor(pages * (at % 5 === 4 ? 0.8 : 0.3 * random())), 8)
  const guest = both(
    name,
    uniform(memory, packedPages(Math.floor((pages - hot) * random()), hot), rate * 0.9, at + 1),
    uniform(memory, spreadPages(memory, pages >> 1), rate * 0.1, at + 100),
  )
  return { name, pages, guest, rate, curve: exactCurve(guest, memory) }
}

function exactCurve({ chunks }: Guest, { chunkPages }: Memory): PredictionCurve {
  const columns = chunks.map(of => WINDOWS.map(seconds => Math.min(of(seconds), chunkPages)))
  return {
    pageSize: PAGE,
    points: WINDOWS.map((seconds, at) => {
      const pages = columns.reduce((sum, column) => sum + (column[at] ?? 0), 0)
      const bytesPerSecond = (pages * PAGE) / seconds
      const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
      return { windowNs: seconds * 1e9, pages, bytesPerSecond, interval }
    }),
    regions: columns.map((pages, chunk) => ({
      block: 'ram',
      offset: chunk * chunkPages * PAGE,
      bytes: chunkPages * PAGE,
      pages,
    })),
    memory: { bytes: chunks.length * chunkPages * PAGE },
  }
}

/** How a host was emptied. */
export interface Emptied {
  left: readonly Left[]
  seconds: number
  /** How long a VM was still on the host, on average. */
  meanSeconds: number
}

const emptied = (left: readonly Left[]): Emptied => ({
  left,
  seconds: Math.max(...left.map(({ end }) => end)),
  meanSeconds: left.reduce((sum, { end }) => sum + end, 0) / left.length,
})

const planOf = ({ vms, options }: SimulatedHost): MigrationPlan =>
  planMigrations(
    vms.map(({ name, curve }) => ({ name, curve })),
    options,
  )

const jobOf = (
  { pages, guest }: HostVm,
  method: PlanMethod,
  downtime: number,
  bytesPerSecond: number,
): HostJob => ({
  pages,
  chunkPages: CHUNK_PAGES,
  writer: guest.writer(),
  method,
  downtime,
  most: bytesPerSecond / PAGE,
})

const play = ({ options }: SimulatedHost, stages: HostJob[][][]): Emptied =>
  emptied(
    simulateHost({
      profile: PROFILE,
      link: LINK,
      overhead: Number(options.overhead) / 1000,
      patience: 10_000,
      stages,
    }),
  )

/** The host by its plan. The migrations are in the order of the plan. */
export function byPlan(host: SimulatedHost): { plan: MigrationPlan; played: Emptied } {
  const plan = planOf(host)
  const stages: HostJob[][][] = []
  for (const { name, stage, lane, method, downtimeLimitMs } of plan.migrations) {
    const vm = host.vms.find(one => one.name === name)
    if (vm === undefined) throw new Error(name)
    const lanes = stages[stage - 1] ?? []
    stages[stage - 1] = lanes
    const jobs = lanes[lane - 1] ?? []
    lanes[lane - 1] = jobs
    jobs.push(jobOf(vm, method, (downtimeLimitMs ?? 0) / 1000, Number(host.options.bandwidthPerVm)))
  }
  return { plan, played: play(host, stages) }
}

/** The lanes of the simple orders. */
export const simpleOrders: Readonly<
  Record<'by size' | 'by rate' | 'all at once', (vms: readonly HostVm[]) => HostVm[][]>
> = {
  'by size': vms => [[...vms].sort((a, b) => a.pages - b.pages)],
  'by rate': vms => [[...vms].sort((a, b) => a.rate - b.rate)],
  'all at once': vms => vms.map(vm => [vm]),
}

/** The host by a simple order. Each VM goes by the method that the plan has for it. */
export function bySimpleOrder(
  host: SimulatedHost,
  order: keyof typeof simpleOrders,
  plan: MigrationPlan,
): Emptied {
  const planned = new Map(plan.migrations.map(one => [one.name, one]))
  const lanes = simpleOrders[order](host.vms.filter(({ name }) => planned.has(name)))
  const most = Number(host.options.bandwidthPerVm)
  const jobs = lanes.map(lane =>
    lane.map(vm => jobOf(vm, planned.get(vm.name)?.method ?? 'live', DOWNTIME, most)),
  )
  return play(host, [jobs])
}
