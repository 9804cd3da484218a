// `dirtyrate serve --config` for as long as is wanted, on VMs whose writes are known: own ones, a
// QEMU behind a socket, a domain of libvirt where that can be run, and a process. Prints what the
// server held and took, as the kernel counts it from outside, and whether its figures were true.
//
//   node benches/serve-soak.mjs [--minutes N] [--budget PERCENT] [--every DURATION] [--own N]
//
// The guest of the QEMU, of the domain and of the process writes the same pages again and again,
// all of them in each window. So the true rate is the pages by the window. Page sampling gives an
// interval with a confidence of 95 %: it has the true rate in about as many windows.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { importTypeScript } from '../scripts/build/import-typescript.mjs'
import { commandLine } from '../scripts/command-line.mjs'
import { PAGES, PID_NAME, startAll } from './serve-soak/machines.mjs'
import { startServer } from './serve-soak/server.mjs'

const { values } = commandLine(import.meta.url, {
  options: {
    minutes: { type: 'string', default: '10' },
    budget: { type: 'string', default: '10%' },
    every: { type: 'string', default: '5s' },
    own: { type: 'string', default: '3' },
  },
})

const { growth } = await importTypeScript('__test__/fixtures/growth.ts')
const SAMPLE_MS = 5_000
const PAGE = 4096
const OWN = Number(values.own)
/** How many of the own guests write. A guest that writes needs a CPU also while it waits. */
const WRITERS = 3
const CPU = 'measuring_cpu_seconds_total'

const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-soak-'))
const machines = await startAll(folder)
const own = Array.from({ length: OWN }, (_, at) =>
  at < WRITERS
    ? `guest:stride,pages=${500 + at},rate=4MiB/s,memory=64MiB`
    : `guest:idle,memory=${64 + at}MiB`,
)
writeFileSync(
  join(folder, 'serve.yaml'),
  JSON.stringify({
    budget: values.budget,
    every: values.every,
    window: '1s',
    'curve-every': '1min',
    bandwidth: ['1Gbit/s'],
    downtime: ['300ms'],
    discovery: {
      every: '10s',
      qmp: [{ sockets: `${folder}/*.sock` }],
      ...(machines.libvirt === undefined
        ? {}
        : { libvirt: [{ connect: machines.libvirt, windows: '1s,2s' }] }),
    },
    targets: [
      ...own.map((target, at) => ({ target, name: `own-${at}` })),
      { target: `pid:${machines.pid}`, name: PID_NAME },
    ],
  }),
)

const until = performance.now() + Number(values.minutes) * 60_000
// An interrupt ends the run early, with the figures that there are and without leaving a machine.
const interrupted = new Promise(resolve => process.once('SIGINT', () => resolve(true)))
const held = []
/** How often an interval was told for a target, and how often the true rate was in it. */
const intervals = new Map()
const measuredAt = new Map()
let server
try {
  server = await startServer(join(folder, 'serve.yaml'))
  while (performance.now() < until) {
    if (await Promise.race([sleep(SAMPLE_MS, false), interrupted])) break
    const samples = await server.scrape()
    held.push({ at: performance.now(), ...server.held(), told: valueIn(samples, CPU) })
    for (const target of targetsOf(samples)) judge(samples, target)
  }
  report(await server.scrape())
} finally {
  await server?.end()
  await machines.end()
  rmSync(folder, { recursive: true, force: true })
}

function valueIn(samples, name, labels = {}) {
  return samples.find(
    one =>
      one.name === `dirtyrate_${name}` &&
      Object.entries(labels).every(([label, value]) => one.labels[label] === value),
  )?.value
}

function targetsOf(samples) {
  return samples
    .filter(({ name }) => name === 'dirtyrate_target_up')
    .map(({ labels }) => labels.target)
}

/** Counts the last window of a target once. Its guest writes all its pages in each of them. */
function judge(samples, target) {
  if (target.startsWith('own-')) return
  const at = valueIn(samples, 'last_measurement_timestamp_seconds', { target })
  const seconds = valueIn(samples, 'dirty_rate_window_seconds', { target })
  if (seconds === undefined || measuredAt.get(target) === at) return
  measuredAt.set(target, at)
  const [low, high] = ['low', 'high'].map(bound =>
    valueIn(samples, 'dirty_rate_bound_bytes_per_second', { target, bound }),
  )
  const truth = (PAGES * PAGE) / seconds
  const count = intervals.get(target) ?? { windows: 0, right: 0 }
  count.windows++
  if (low <= truth && truth <= high) count.right++
  intervals.set(target, count)
}

function report(samples) {
  const [first, last] = [held[0], held.at(-1)]
  const seconds = (last.at - first.at) / 1000
  const slope = what => growth(held.map(one => ({ done: one.at / 60_000, value: one[what] })))
  const rows = targetsOf(samples).map(target => {
    const of = (name, labels = {}) => valueIn(samples, name, { target, ...labels })
    const truth = ['low', 'high'].map(bound => of('truth_bytes_total', { bound }))
    const isExact = truth[0] !== undefined
    const { windows = 0, right = 0 } = intervals.get(target) ?? {}
    return {
      target: target.replace(folder, '…').replace(/,connect=.*/, ',connect=…'),
      complete: of('measurements_total', { result: 'complete' }),
      incomplete: of('measurements_total', { result: 'incomplete' }),
      failed: of('measurements_total', { result: 'failed' }),
      period: of('target_period_seconds')?.toFixed(1),
      true: isExact
        ? truth[0] <= of('dirty_bytes_total') && of('dirty_bytes_total') <= truth[1]
        : `${right} of ${windows}`,
    }
  })
  console.table(rows)
  console.log(
    JSON.stringify(
      {
        minutes: seconds / 60,
        rssMiB: [first, last].map(({ rss }) => rss / 2 ** 20),
        rssGrowthKiBPerMinute: slope('rss') / 1024,
        descriptors: [first, last].map(({ descriptors }) => descriptors),
        threads: [first, last].map(({ threads }) => threads),
        budget: values.budget,
        cpuPercent: (100 * (last.cpuSeconds - first.cpuSeconds)) / seconds,
        toldPercent: (100 * (last.told - first.told)) / seconds,
        stretch: valueIn(samples, 'period_stretch_ratio'),
      },
      undefined,
      1,
    ),
  )
}
