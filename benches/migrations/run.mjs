// npm run bench:migrations: measures guests of this project in a real QEMU and migrates each of
// them several times to another QEMU over loopback. What came out is kept in one file for each
// machine, benches/migrations/NAME.json, so that a predictor can be scored on it: npm run score.
//
//   npm run bench:migrations                     the machines that have no file yet
//   npm run bench:migrations -- --again NAME…    these, also if they have one
//   npm run bench:migrations -- --list           the machines
//
// It takes about four minutes for each machine, and the memory of the largest one three times.

import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { openTarget, VirtualMachine } from 'dirtyrate'
import { commandLine } from '../../scripts/command-line.mjs'
import { processor } from '../cpu.mjs'
import { coverage, PAGE, ramBlocks } from './guests.mjs'
import { MigratingGuest } from './machine.mjs'
import { Passes, passEvents } from './passes.mjs'
import { machines } from './scenarios.mjs'

const folder = dirname(fileURLToPath(import.meta.url))
/** The windows of the curves: up to the longest that is needed, each twice the one before. */
const FIRST_WINDOW_MS = 50
const LONGEST_WINDOW_MS = 12_800
/** So many samples of the whole memory when the guest's process is looked at from outside. */
const SAMPLES = 32_768
const MOST_PER_GIB = 16_384
const GIB = 2 ** 30
/** How QEMU itself measures. Its bitmap sees nothing of a guest that KVM does not run. */
const QEMU_BITMAP = ['qemuBitmap', { mode: 'dirty-bitmap' }]
const QEMU_SAMPLING = ['qemuSampling', { mode: 'page-sampling', samplePages: MOST_PER_GIB }]
/** The window in which the pages of zeros are counted before each migration. */
const GLANCE = '50ms'
const MS_PER_SECOND = 1000
/** How long a guest takes to boot. */
const START_MS = 1000

const { values, positionals } = commandLine(import.meta.url, {
  allowPositionals: true,
  options: {
    again: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
})
const fileOf = ({ name }) => join(folder, `${name}.json`)

function windowsOf({ setBytes, migrations }) {
  const slowest = Math.min(...migrations.map(one => one.bandwidthBytesPerSecond))
  const firstPassMs = (setBytes / slowest) * MS_PER_SECOND
  const windows = [FIRST_WINDOW_MS]
  while (windows.at(-1) < firstPassMs && windows.at(-1) < LONGEST_WINDOW_MS)
    windows.push(2 * windows.at(-1))
  return windows.map(ms => `${ms}ms`)
}

const samplesPerGib = ({ memoryBytes }) =>
  Math.min(Math.round((SAMPLES * GIB) / memoryBytes), MOST_PER_GIB)

/** How fast the guest writes by its own count, over this time. */
async function pace(guest, ms = 2000) {
  const begun = performance.now()
  const before = await guest.writes()
  await sleep(ms)
  return ((await guest.writes()) - before) / ((performance.now() - begun) / MS_PER_SECOND)
}

async function curveOf(uri, options) {
  const target = await openTarget(uri)
  try {
    return await target.measureDirtyCurve(options)
  } finally {
    await target.close()
  }
}

/** The curve of the same guest file in a virtual machine of this project: exact, by region. */
async function ownCurve(guest, { memoryBytes, guest: { kind, pages = 0, rate } }, options) {
  const vm = await VirtualMachine.create({ memory: ramBlocks(memoryBytes) })
  try {
    await vm.load({ kernel: guest.kernel })
    await vm.start()
    if (kind !== 'idle')
      await sleep(START_MS + (coverage({ kind, pages }) * PAGE * MS_PER_SECOND) / rate)
    return await vm.measureDirtyCurve(options)
  } finally {
    await vm.close()
  }
}

/** The memory as it is now: a guest goes on filling it while it is measured and migrated. */
async function memoryOf(guest, machine) {
  const samplePages = samplesPerGib(machine)
  return (await curveOf(`pid:${guest.pid}`, { windows: [GLANCE], samplePages })).memory
}

async function migrate(guest, limits, machine) {
  const memory = await memoryOf(guest, machine)
  const firstPassMs = (machine.setBytes / limits.bandwidthBytesPerSecond) * MS_PER_SECOND
  const passes = new Passes(firstPassMs)
  let events = []
  let last = {}
  const counts = guest.writes() !== undefined
  const writesPerSecond = counts ? await pace(guest) : undefined
  const began = performance.now()
  const before = await guest.writes()
  const answer = await guest.migrate(limits, (said, seen) => {
    events = [...seen]
    if (said.ram !== undefined) last = said
    return passes.take(said)
  })
  const during = ((await guest.writes()) - before) / ((performance.now() - began) / MS_PER_SECOND)
  const completed = answer.status === 'completed'
  return {
    ...limits,
    memory,
    outcome: completed ? 'completed' : answer.status === 'active' ? 'stalled' : answer.status,
    ...(answer['error-desc'] === undefined ? {} : { error: answer['error-desc'] }),
    totalMs: last['total-time'],
    setupMs: last['setup-time'],
    ...(completed ? { actualDowntimeMs: last.downtime } : {}),
    transferredBytes: last.ram?.transferred,
    normalPages: last.ram?.normal,
    zeroPages: last.ram?.duplicate,
    passes: passes.list,
    events: passEvents(events),
    ...(counts
      ? { writesPerSecond: { before: Math.round(writesPerSecond), during: Math.round(during) } }
      : {}),
  }
}

async function record(machine) {
  const windows = windowsOf(machine)
  const guest = await MigratingGuest.start(machine)
  try {
    const say = text => process.stdout.write(`  ${text}\n`)
    const linkBytesPerSecond = await guest.measureLink()
    if (linkBytesPerSecond !== undefined)
      say(`the link carries ${Math.round(linkBytesPerSecond / 1e6)} MB/s`)
    const curves = {}
    curves.pid = await curveOf(`pid:${guest.pid}`, {
      windows,
      samplePages: samplesPerGib(machine),
    })
    say(`pid: ${windows.length} windows`)
    const [measured, how] = guest.kernel === undefined ? QEMU_SAMPLING : QEMU_BITMAP
    curves[measured] = await curveOf(`qmp:${guest.socket}`, { windows, ...how })
    say(`qmp: ${how.mode}`)
    const migrations = []
    for (const limits of machine.migrations) {
      const done = await migrate(guest, limits, machine)
      migrations.push(done)
      say(
        `${Math.round(limits.bandwidthBytesPerSecond / 1e6)} MB/s, ${limits.downtimeMs} ms: ${done.outcome} after ${done.totalMs} ms, ${done.passes.length} passes, ${done.actualDowntimeMs ?? '-'} ms down`,
      )
      if (done.outcome === 'failed') throw new Error(done.error)
    }
    if (guest.kernel !== undefined) curves.own = await ownCurve(guest, machine, { windows })
    return {
      schemaVersion: 1,
      ...machine,
      date: new Date().toISOString().slice(0, 10),
      cpu: processor(),
      qemu: await guest.version(),
      linkBytesPerSecond,
      curves,
      migrations,
    }
  } finally {
    await guest.close()
  }
}

if (values.list) {
  for (const machine of machines)
    console.log(`${existsSync(fileOf(machine)) ? 'done' : 'open'}  ${machine.name}`)
  process.exit(0)
}
for (const name of positionals)
  if (!machines.some(machine => machine.name === name)) {
    console.error(`no machine is called ${name}; --list names them`)
    process.exit(2)
  }
const chosen = machines.filter(machine =>
  positionals.length > 0 ? positionals.includes(machine.name) : true,
)
for (const machine of chosen) {
  if (existsSync(fileOf(machine)) && !values.again) continue
  console.log(machine.name)
  const data = await record(machine)
  writeFileSync(`${fileOf(machine)}.new`, `${JSON.stringify(data, undefined, 1)}\n`)
  renameSync(`${fileOf(machine)}.new`, fileOf(machine))
}
