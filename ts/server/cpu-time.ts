/**
 * The CPU time that serving takes: that of this process and of its children, such as virsh. The
 * threads of guests that this process runs itself do not count, because they are what is measured.
 */

import { readdirSync } from 'node:fs'
import process from 'node:process'
import { readText } from '../ground/proc.js'

/** The vCPUs of our own VMs, what paces them, and what KVM adds to the process for each VM. */
const OF_GUESTS = /^(vcpu\d+|pacer|kvm-.*)\n$/
const US_PER_MS = 1000
const NS_PER_MS = 1e6
/** USER_HZ, in which the kernel tells times to programs on every architecture that we run on. */
const MS_PER_TICK = 10
/** How often the list of the threads is read. */
const LIST_MS = 1000

/** Reads the CPU time so far, in ms. It never goes back. */
export class CpuTime {
  /** The times of the guests' threads, by their ids, as they were read last. */
  readonly #guests = new Map<string, number>()
  readonly #makesGuests: boolean
  #listedAt = Number.NEGATIVE_INFINITY
  /** The times of the guests' threads that have ended. */
  #endedMs = 0
  #last = 0

  /** `makesGuests`: whether this process runs guests of its own. */
  constructor(makesGuests: boolean) {
    this.#makesGuests = makesGuests
  }

  spentMs(): number {
    const { user, system } = process.cpuUsage()
    const spent = (user + system) / US_PER_MS + childrenMs() - this.#guestsMs()
    this.#last = Math.max(this.#last, spent)
    return this.#last
  }

  #guestsMs(): number {
    if (!this.#makesGuests) return 0
    this.#list()
    let sum = this.#endedMs
    for (const [id, last] of this.#guests) {
      const ms = threadMs(id)
      if (ms === undefined) {
        this.#guests.delete(id)
        this.#endedMs += last
      } else {
        this.#guests.set(id, ms)
      }
      sum += ms ?? last
    }
    return sum
  }

  #list(): void {
    const now = performance.now()
    if (now - this.#listedAt < LIST_MS) return
    this.#listedAt = now
    for (const id of readdirSync('/proc/self/task')) {
      if (this.#guests.has(id)) continue
      if (OF_GUESTS.test(readText(`/proc/self/task/${id}/comm`) ?? '')) this.#guests.set(id, 0)
    }
  }
}

/** The time that a thread of this process has run; undefined if it has ended. */
function threadMs(id: string): number | undefined {
  const text = readText(`/proc/self/task/${id}/schedstat`)
  return text === undefined ? undefined : Number(text.split(' ')[0]) / NS_PER_MS
}

/** The time of all children that have ended. */
function childrenMs(): number {
  const fields =
    readText('/proc/self/stat')
      ?.replace(/^.*\) /s, '')
      .split(' ') ?? []
  // proc_pid_stat(5): cutime and cstime are the fields 16 and 17, and the state is the third.
  return (Number(fields[13]) + Number(fields[14])) * MS_PER_TICK || 0
}
