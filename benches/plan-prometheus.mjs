// How long `dirtyrate plan --prometheus` takes for a fleet of synthetic VMs, 50 on each host, whose
// series a real Prometheus has: its time, the CPU time and the memory of the command, and of the
// Prometheus. Needs dist/ (npm run build), and the programs prometheus and promtool.
//
//   node benches/plan-prometheus.mjs [--vms 10000] [--bandwidth 10Gbit/s]

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { importTypeScript } from '../scripts/build/import-typescript.mjs'
import { commandLine } from '../scripts/command-line.mjs'
import { processor } from './cpu.mjs'
import { fleet } from './fleet.mjs'

const { values } = commandLine(import.meta.url, {
  options: {
    vms: { type: 'string', default: '10000' },
    bandwidth: { type: 'string', default: '10Gbit/s' },
  },
})
const PER_HOST = 50
const SEED = 7
const MIB = 2 ** 20
const OPTIONS = [
  ...['--bandwidth', values.bandwidth, '--downtime', '300ms', '--overhead', '2s'],
  ...['--methods', 'live,more-downtime,post-copy', '--most-downtime', '2s'],
]

const { Metrics } = await importTypeScript('ts/metrics/metrics.ts')
const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-plan-'))
const now = Date.now()

/** The lines of a host, as its own server would have written them, with the host and a time. */
async function linesOf(vms, host) {
  const metrics = new Metrics({ version: '0.0.0' })
  for (const { name, curve } of vms) {
    const points = curve.points.map(point => ({ ...point, requestedMs: point.windowNs / 1e6 }))
    const uri = `libvirt:${name}`
    const series = metrics.add(uri)
    series.described({
      uri,
      memoryBytes: curve.memory.bytes,
      vcpus: 4,
      state: 'running',
      modes: [],
    })
    const { windowNs: ns, ...rates } = points[4]
    const window = { requestedMs: ns / 1e6, ns }
    series.measured(
      { ...rates, mode: curve.mode, window, complete: true, warnings: [] },
      'QEMU',
      now,
    )
    await series.curveMeasured({ ...curve, points, complete: true, warnings: [] }, now)
  }
  const { text } = await metrics.expose('openmetrics')
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return lines.map(line => {
    const labelled = line.replace(/^(\w+)(?:\{(.*)\})? /, (_, name, labels) => {
      const all = [labels, `instance="${host}"`].filter(one => one !== undefined)
      return `${name}{${all.join(',')}} `
    })
    return `${labelled} ${now / 1000}`
  })
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** The CPU time in seconds, and the largest memory in bytes, of a process. */
function spentBy(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' ')
  const [, kib] = /^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return { seconds: (Number(fields[11]) + Number(fields[12])) / 100, bytes: Number(kib) * 1024 }
}

/** Runs a program, and gives what it and its children took, and what it printed. */
async function ran(program, args) {
  const begin = performance.now()
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let printed = 0
  let spent
  child.stdout.on('data', piece => {
    printed += piece.toString().split('\n').length - 1
  })
  const look = setInterval(() => {
    try {
      spent = spentBy(child.pid)
    } catch {
      // It has ended.
    }
  }, 20)
  const [status] = await once(child, 'close')
  clearInterval(look)
  if (status !== 0) throw new Error(`${program} ended with status ${status}`)
  return { wall: (performance.now() - begin) / 1000, lines: printed, ...spent }
}

let prometheus
try {
  const hosts = fleet(Math.ceil(Number(values.vms) / PER_HOST), PER_HOST, SEED)
  const samples = join(folder, 'samples')
  const file = createWriteStream(samples)
  let series = 0
  for (const [at, vms] of hosts.entries()) {
    const lines = await linesOf(vms, `host${at}:9753`)
    series += lines.length
    if (!file.write(`${lines.join('\n')}\n`)) await once(file, 'drain')
  }
  file.end('# EOF\n')
  await once(file, 'close')
  const data = join(folder, 'data')
  await ran('promtool', ['tsdb', 'create-blocks-from', 'openmetrics', samples, data])

  writeFileSync(join(folder, 'prometheus.yml'), '')
  const url = `http://127.0.0.1:${await freePort()}`
  prometheus = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${data}`,
      `--web.listen-address=${url.slice('http://'.length)}`,
      // The series have one sample each.
      '--query.lookback-delta=1h',
    ],
    { stdio: 'ignore' },
  )
  const isReady = async () => (await fetch(`${url}/-/ready`).catch(() => undefined))?.ok === true
  while (!(await isReady())) await sleep(100)

  const before = spentBy(prometheus.pid)
  const plan = ['plan', '--prometheus', url, ...OPTIONS, '--max-age', '1h', '--json']
  const { wall, seconds, bytes, lines } = await ran(process.execPath, ['dist/cli.js', ...plan])
  const after = spentBy(prometheus.pid)
  console.log(processor())
  console.log(
    '\n| VMs | hosts planned | series | time | CPU: plan | Prometheus | memory: plan | Prometheus |',
  )
  console.log('|---|---|---|---|---|---|---|---|')
  const cpu = [seconds, after.seconds - before.seconds].map(one => `${one.toFixed(1)} s`)
  const memory = [bytes, after.bytes].map(one => `${Math.round(one / MIB)} MiB`)
  const vms = hosts.length * PER_HOST
  console.log(
    `| ${vms} | ${lines} | ${series} | ${wall.toFixed(1)} s | ${[...cpu, ...memory].join(' | ')} |`,
  )
} finally {
  prometheus?.kill()
  if (prometheus?.exitCode === null) await once(prometheus, 'close')
  rmSync(folder, { recursive: true, force: true })
}
