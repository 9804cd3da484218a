// A guest of this project in a QEMU that can be migrated, and the QEMU that it goes to.

import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { buildGuest, workload } from 'dirtyrate'
import { Qemu } from '../../scripts/qemu/qemu.mjs'

const GIB = 2 ** 30
const MIB = 2 ** 20
export const PAGE = 4096
/** The guest's file has its parameters behind its headers, its code and the boot's words. */
const PARAMETERS = 3 * PAGE
/** The count of writes is in these bits of a mailbox's first word. */
const COUNT = 2n ** 56n - 1n
/** From this size on the machine q35 has only 2 GiB below 4 GiB. */
const SPLIT_FROM = 2.75 * GIB
/** How long a guest may take until it has written each of its pages. */
const AT_WORK_MS = 180_000

/** Where RAM of this size lies in QEMU's machine q35. */
export function ramBlocks(bytes) {
  if (bytes < SPLIT_FROM) return [{ name: 'ram', guestAddress: 0, bytes }]
  return [
    { name: 'low', guestAddress: 0, bytes: 2 * GIB },
    { name: 'high', guestAddress: 4 * GIB, bytes: bytes - 2 * GIB },
  ]
}

/** The guest of a scenario, as the API takes it. */
export function workloadOf({ kind, ...options }) {
  return workload[kind === 'hot-cold' ? 'hotCold' : kind](options)
}

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
  #mailbox
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

  /** The guest's file, for a virtual machine of this project. */
  get kernel() {
    return join(this.#folder, 'guest.elf')
  }

  execute(command, args) {
    return this.#source.qemu.execute(command, args)
  }

  /** How many writes the guest has made. */
  async writes() {
    return Number((await this.#source.qemu.word(this.#mailbox)) & COUNT)
  }

  async version() {
    const { qemu } = await this.execute('query-version')
    return `${qemu.major}.${qemu.minor}.${qemu.micro}`
  }

  async #boot() {
    const { guest, memoryBytes } = this.#scenario
    const image = buildGuest(workloadOf(guest), { memory: ramBlocks(memoryBytes) })
    this.#mailbox = new DataView(image.buffer, image.byteOffset).getBigUint64(PARAMETERS, true)
    writeFileSync(this.kernel, image)
    this.#source = await this.#qemu([])
    const deadline = performance.now() + AT_WORK_MS
    const ready = async () =>
      (await this.#source.qemu.word(this.#mailbox + 8n)) === 1n &&
      (await this.writes()) >= coverage(guest)
    while (!(await ready())) {
      if (performance.now() > deadline) throw new Error(`${this.#scenario.name} does not start`)
      await sleep(50)
    }
  }

  async #qemu(more) {
    const socket = join(this.#folder, `qmp-${randomUUID()}`)
    const size = ['-m', String(this.#scenario.memoryBytes / MIB)]
    const monitor = ['-qmp', `unix:${socket},server=on,wait=off`]
    const qemu = await Qemu.start([...size, '-kernel', this.kernel, ...monitor, ...more])
    return { qemu, socket }
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

/**
 * After how many writes a guest is taken to have written each of its pages, or nearly: a draw with
 * replacement finds all but e^-5 of them.
 */
export function coverage({ kind, pages }) {
  if (kind === 'idle') return 0
  if (kind === 'random') return 5 * pages
  // The cold pages, 9 of 10, get 1 of 10 writes: to write most of them takes very long.
  if (kind === 'hot-cold') return 3 * pages
  return pages
}
