/** The same guest file under QEMU, measured by QEMU's own dirty-bitmap mode: both must say the same. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { buildGuest, type DirtyRateInfo, workload } from '../ts/index.js'
import { folder } from './fixtures/elf.js'
import { describeWith } from './fixtures/kvm.js'
import { PAGE, running, sleep } from './fixtures/machine.js'

/** A QEMU that runs `kernel`, and its monitor. */
class Qemu {
  readonly #process: ChildProcess
  readonly #socket: Socket
  readonly #lines: AsyncIterator<string>

  private constructor(process: ChildProcess, socket: Socket) {
    this.#process = process
    this.#socket = socket
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  }

  static async start(kernel: string, memoryMiB: number, vcpus: number): Promise<Qemu> {
    const path = join(dirname(kernel), 'qmp')
    const machine = [
      '-accel',
      'kvm',
      '-machine',
      'q35,smm=off',
      '-m',
      String(memoryMiB),
      '-smp',
      String(vcpus),
    ]
    const devices = ['-nodefaults', '-display', 'none', '-qmp', `unix:${path},server=on,wait=off`]
    const qemu = spawn('qemu-system-x86_64', [...machine, ...devices, '-kernel', kernel], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let complaint = ''
    qemu.stderr?.setEncoding('utf8').on('data', (text: string) => {
      complaint += text
    })
    onTestFinished(() => void qemu.kill('SIGKILL'))
    for (;;) {
      if (qemu.exitCode !== null) throw new Error(`QEMU ended: ${complaint}`)
      const socket = createConnection(path)
      const connected = await Promise.race([
        once(socket, 'connect').then(() => true),
        once(socket, 'error').then(
          () => false,
          () => false,
        ),
      ]).catch(() => false)
      if (connected) {
        const started = new Qemu(qemu, socket)
        await started.#next()
        await started.execute('qmp_capabilities')
        return started
      }
      await sleep(50)
    }
  }

  async execute<T>(command: string, args: object = {}): Promise<T> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
    for (;;) {
      const answer = await this.#next()
      if (answer.error) throw new Error(`${command}: ${answer.error.desc}`)
      if ('return' in answer) return answer.return as T
    }
  }

  /** One measurement by QEMU, its time in ms. */
  async measure(ms: number): Promise<DirtyRateInfo> {
    const unit = { 'calc-time-unit': 'millisecond' }
    await this.execute('calc-dirty-rate', { 'calc-time': ms, ...unit, mode: 'dirty-bitmap' })
    for (;;) {
      const info = await this.execute<DirtyRateInfo>('query-dirty-rate', unit)
      if (info.status === 'measured') return info
      await sleep(20)
    }
  }

  async quit(): Promise<void> {
    await this.execute('quit')
    if (this.#process.exitCode === null) await once(this.#process, 'exit')
  }

  async #next(): Promise<{ return?: unknown; error?: { desc: string } }> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('QEMU closed its monitor')
    return JSON.parse(value)
  }
}

/** The page counts that QEMU's truncated MiB/s can stand for, its arithmetic read backwards. */
function pagesBehind(info: DirtyRateInfo): { low: number; high: number } {
  const rate = info['dirty-rate'] ?? Number.NaN
  const perMs = (mib: number): number => (mib * info['calc-time'] * (2 ** 20 / PAGE)) / 1000
  return { low: perMs(rate), high: perMs(rate + 1) }
}

describeWith('qemu-system-x86_64', 'the same guest under QEMU', () => {
  const guests = [
    { name: 'stride', guest: workload.stride({ pages: 10_240 }), vcpus: 1 },
    { name: 'stride', guest: workload.stride({ pages: 10_240 }), vcpus: 2 },
    { name: 'silent', guest: workload.silent({ pages: 10_240 }), vcpus: 1 },
  ]
  it.each(guests)(
    'dirties as much by its count as by ours: $name, $vcpus vCPUs',
    { timeout: 60_000 },
    async ({ guest, vcpus }) => {
      // Long enough for every page of the working set, under emulation too.
      const window = 1000
      const memory = 256
      const kernel = folder()('guest.elf', buildGuest(guest, { memory: `${memory}MiB`, vcpus }))
      writeFileSync(kernel, buildGuest(guest, { memory: `${memory}MiB`, vcpus }))
      const qemu = await Qemu.start(kernel, memory, vcpus)
      // It has booted, firmware and all, when two measurements in a row say the same.
      let last = -1
      let theirs = await qemu.measure(window)
      while (theirs['dirty-rate'] !== last || last === 0) {
        last = theirs['dirty-rate'] ?? -1
        theirs = await qemu.measure(window)
      }
      await qemu.quit()

      const vm = await running({ kernel }, { memory: `${memory}MiB`, vcpus })
      let ours = await vm.measureDirtyRate({ window })
      // A kernel is started, not waited for: the first window may hold its boot.
      ours = await vm.measureDirtyRate({ window })
      const { low, high } = pagesBehind(theirs)
      expect(ours.pages).toBeGreaterThanOrEqual(Math.floor(low))
      expect(ours.pages).toBeLessThan(high)
      expect(ours.pages).toBeGreaterThanOrEqual(guest.pages)
      expect(pagesBehind(ours.qapi).high).toBeGreaterThan(low)
      // And as a workload, with its truth beside it.
      await vm.close()
      const known = await running(guest, { memory: `${memory}MiB`, vcpus })
      const { pages, truth } = await known.measureDirtyRate({ window })
      expect(pages).toBe(ours.pages)
      expect(truth?.pages).toBe(pages)
    },
  )
})
