// Compares the CPU time of a measurement of one second by dirty bitmap with QEMU's for the same
// guest file. The time of the vCPUs is left out, and everything else is included.
//
//   node benches/beside-qemu.mjs [--quick] [--json]

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buildGuest, VirtualMachine, workload } from 'dirtyrate'
import { Qemu } from '../scripts/qemu/qemu.mjs'
import { printRows, Row } from './rows.mjs'

const MEASUREMENTS = process.argv.includes('--quick') ? 10 : 40
const TICKS_PER_SECOND = 100

/** CPU seconds of a process, threads that ended included, without those of its vCPUs. */
function cpuSeconds(pid, vcpus) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const [utime, stime] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13)
  const ofVcpus = vcpus.map(task =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]),
  )
  const all = (Number(utime) + Number(stime)) / TICKS_PER_SECOND
  return all - ofVcpus.reduce((sum, ns) => sum + ns / 1e9, 0)
}

/** The name of a thread; undefined if the thread has ended. */
function nameOf(task) {
  try {
    return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim()
  } catch {
    return ''
  }
}

/**
 * The CPU time of a measurement in ms. It is a mean, because the clock is too coarse for a single
 * measurement.
 */
async function cost(pid, vcpus, measure) {
  await measure()
  const before = cpuSeconds(pid, vcpus)
  for (let i = 0; i < MEASUREMENTS; i++) await measure()
  return ((cpuSeconds(pid, vcpus) - before) / MEASUREMENTS) * 1000
}

const guest = buildGuest(workload.stride({ pages: 25_600 }), { memory: '1GiB', vcpus: 1 })
const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-bench-'))
const kernel = join(folder, 'guest.elf')
writeFileSync(kernel, guest)
const vm = await VirtualMachine.create({ memory: '1GiB' })
try {
  const qemu = await Qemu.start(['-m', '1024', '-smp', '1', '-kernel', kernel])
  let theirs
  try {
    const vcpus = (await qemu.execute('query-cpus-fast')).map(vcpu => vcpu['thread-id'])
    theirs = await cost(qemu.pid, vcpus, () => qemu.measure(1000))
  } finally {
    await qemu.kill()
  }
  await vm.load({ kernel })
  await vm.start()
  // A thread gives itself its name: not at once.
  await vm.measureDirtyRate({ window: '1s' })
  const vcpus = readdirSync('/proc/self/task').filter(task => /^vcpu\d+$/.test(nameOf(task)))
  const ours = await cost('self', vcpus, () => vm.measureDirtyRate({ window: '1s' }))
  const name =
    'CPU of a measurement of 1 s by dirty bitmap, 1 GiB, without the vCPUs, over that of QEMU'
  printRows(
    [new Row(name, ours, theirs, 'ms', ours / theirs, 'at most', 0.5)],
    process.argv.includes('--json'),
  )
} finally {
  await vm.close()
  rmSync(folder, { recursive: true, force: true })
}
