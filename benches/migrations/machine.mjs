// A guest in a QEMU that can be migrated, and the QEMU that it goes to.

import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Qemu } from '../../scripts/qemu/qemu.mjs'
import { LinuxGuest, OwnGuest } from './guests.mjs'
import { Passes } from './passes.mjs'

const MIB = 2 ** 20
/** How long a guest may take until it has written each of its pages. */
const AT_WORK_MS = 300_000

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => probe.once('listening', resolve))
  const { port } = probe.address()
  await new Promise(resolve => probe.close(resolve))
  return port
}

/** One guest, in whichever QEMU it is at the moment. */
export class MigratingGuest {
  #folder = mkdtempSync(join(tmpdir(), 'dirtyrate-migration-'))
  #scenario
  #guest
  #source

  static async start(scenario) {
    const guest = new MigratingGuest(scenario)
    try {
      await guest.#boot()
      return guest
    } catch (error) {
      await guest.close()
      throw error
    }
  }

  constructor(scenario) {
    this.#scenario = scenario
  }

  get pid() {
    return this.#source.qemu.pid
  }

  /** The socket of a monitor that is left to a target. */
  get socket() {
    return this.#source.socket
  }

  /** The guest's file, for a virtual machine of this project; undefined for a Linux. */
  get kernel() {
    return this.#guest.kernel
  }

  execute(command, args) {
    return this.#source.qemu.execute(command, args)
  }

  /** How many writes the guest has made; undefined if it does not count them. */
  writes() {
    return this.#guest.writes?.(this.#source.qemu)
  }

  async version() {
    const { qemu } = await this.execute('query-version')
    return `${qemu.major}.${qemu.minor}.${qemu.micro}`
  }

  async #boot() {
    const Guest = this.#scenario.guest.kind === 'linux' ? LinuxGuest : OwnGuest
    this.#guest = new Guest(this.#scenario, this.#folder)
    this.#source = await this.#qemu([])
    const deadline = performance.now() + AT_WORK_MS
    while (!(await this.#guest.isAtWork(this.#source.qemu))) {
      if (performance.now() > deadline) throw new Error(`${this.#scenario.name} does not start`)
      await sleep(50)
    }
  }

  async #qemu(more) {
    const socket = join(this.#folder, `qmp-${randomUUID()}`)
    const all = [
      ...['-m', String(this.#scenario.memoryBytes / MIB), ...this.#guest.arguments()],
      ...['-qmp', `unix:${socket},server=on,wait=off`, ...more],
    ]
    return { qemu: await Qemu.start(all, this.#guest.accel), socket }
  }

  /**
   * Migrates the guest to another QEMU over loopback, and calls `follow(source)` until it returns
   * true: the migration is then cancelled. Resolves with the last answer of query-migrate.
   */
  async migrate({ bandwidthBytesPerSecond, downtimeMs }, follow) {
    const port = await freePort()
    const destination = await this.#qemu(['-incoming', `tcp:127.0.0.1:${port}`])
    const { qemu } = this.#source
    try {
      await qemu.execute('migrate-set-capabilities', {
        capabilities: [{ capability: 'events', state: true }],
      })
      await qemu.execute('migrate-set-parameters', {
        'max-bandwidth': bandwidthBytesPerSecond,
        'downtime-limit': downtimeMs,
      })
      qemu.events.length = 0
      await qemu.execute('migrate', { uri: `tcp:127.0.0.1:${port}` })
      for (;;) {
        const answer = await qemu.execute('query-migrate')
        if (answer.status === 'completed') break
        if (answer.status === 'failed' || answer.status === 'cancelled') return answer
        if (follow(answer, qemu.events)) {
          await this.#cancel()
          return answer
        }
        await sleep(10)
      }
      const answer = await qemu.execute('query-migrate')
      follow(answer, qemu.events)
      await qemu.kill()
      this.#source = destination
      return answer
    } finally {
      if (this.#source !== destination) await destination.qemu.kill()
    }
  }

  /**
   * What the link carries if QEMU does not limit it, in bytes per second: by the second pass, which
   * sends only pages that the destination has in memory already. Undefined if the guest writes too
   * little for a second pass.
   */
  async measureLink() {
    const passes = new Passes(0)
    const limits = { bandwidthBytesPerSecond: 0, downtimeMs: 1 }
    const { status } = await this.migrate(limits, answer => passes.take(answer))
    if (status !== 'completed') throw new Error(`the link was not measured: ${status}`)
    const [, second, third] = passes.list
    if (third === undefined || third.startedMs === second.startedMs) return undefined
    const bytes = third.transferredBytes - second.transferredBytes
    return Math.round((bytes / (third.startedMs - second.startedMs)) * 1000)
  }

  async #cancel() {
    await this.execute('migrate_cancel')
    while (
      ['cancelling', 'active', 'device'].includes((await this.execute('query-migrate')).status)
    )
      await sleep(20)
  }

  async close() {
    await this.#source?.qemu.kill()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
