// A QEMU and its monitor, for tests and benchmarks that compare with QEMU.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'

export class Qemu {
  #process
  #folder
  #socket
  #lines
  /** The events that came with the answers so far. A caller that has seen them may remove them. */
  events = []

  /**
   * Starts QEMU with these arguments and KVM. It ends with {@link kill}, or when this process does.
   */
  static async start(args, accel = 'kvm', program = 'qemu-system-x86_64') {
    const qemu = new Qemu()
    await qemu.#start(args, accel, program)
    return qemu
  }

  async #start(args, accel, program) {
    this.#folder = mkdtempSync(join(tmpdir(), 'dirtyrate-qemu-'))
    const path = join(this.#folder, 'qmp')
    const all = [
      '-accel',
      accel,
      '-machine',
      'q35,smm=off',
      '-nodefaults',
      '-display',
      'none',
      ...args,
    ]
    // The kernel ends it with its parent, however the parent ends.
    const ends = ['--pdeathsig', 'KILL', program]
    this.#process = spawn('setpriv', [...ends, ...all, '-qmp', `unix:${path},server=on,wait=off`], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let complaint = ''
    this.#process.stderr.setEncoding('utf8').on('data', text => {
      complaint += text
    })
    let failure
    this.#process.once('error', error => {
      failure = error
    })
    while (this.#socket === undefined) {
      if (failure !== undefined || this.#process.exitCode !== null) {
        rmSync(this.#folder, { recursive: true, force: true })
        throw failure ?? new Error(`QEMU ended: ${complaint}`)
      }
      const socket = createConnection(path)
      const connected = await new Promise(resolve => {
        socket.once('connect', () => resolve(true))
        socket.once('error', () => resolve(false))
      })
      if (connected) this.#socket = socket
      else await sleep(50)
    }
    this.#lines = createInterface({ input: this.#socket })[Symbol.asyncIterator]()
    await this.#next()
    await this.execute('qmp_capabilities')
  }

  get pid() {
    return this.#process.pid
  }

  /** A command's answer, as QMP gives it: with `return` or with `error`. */
  async ask(command, args = {}) {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`)
    for (;;) {
      const answer = await this.#next()
      if (!('event' in answer)) return answer
      this.events.push(answer)
    }
  }

  /** What a command returns; its error is thrown. */
  async execute(command, args = {}) {
    const answer = await this.ask(command, args)
    if (answer.error) throw new Error(`${command}: ${answer.error.desc}`)
    return answer.return
  }

  /** One measurement, its time in ms. */
  async measure(ms, mode = 'dirty-bitmap') {
    const unit = { 'calc-time-unit': 'millisecond' }
    await this.execute('calc-dirty-rate', { 'calc-time': ms, ...unit, mode })
    for (;;) {
      const info = await this.execute('query-dirty-rate', unit)
      if (info.status === 'measured') return info
      await sleep(20)
    }
  }

  /** Sends it a signal: SIGSTOP stops it with its guest, SIGCONT lets both go on. */
  signal(name) {
    this.#process.kill(name)
  }

  /** The 8 bytes at a guest physical address. */
  async word(address) {
    const text = await this.execute('human-monitor-command', {
      'command-line': `xp /1gx ${address}`,
    })
    return BigInt(text.trim().split(' ').at(-1))
  }

  /** Ends it at once: it may be in the middle of anything. */
  async kill() {
    this.#process.kill('SIGKILL')
    if (this.#process.exitCode === null && this.#process.signalCode === null)
      await once(this.#process, 'exit')
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #next() {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('QEMU closed its monitor')
    return JSON.parse(value)
  }
}
