// The guests that are migrated: what a QEMU needs to run them, and whether they are at work.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildGuest, workload } from 'dirtyrate'
import { AT_WORK, linuxGuest } from './linux.mjs'

const GIB = 2 ** 30
export const PAGE = 4096
/** The guest's file has its parameters behind its headers, its code and the boot's words. */
const PARAMETERS = 3 * PAGE
/** The count of writes is in these bits of a mailbox's first word. */
const COUNT = 2n ** 56n - 1n
/** From this size on the machine q35 has only 2 GiB below 4 GiB. */
const SPLIT_FROM = 2.75 * GIB

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

/** A guest of this project under KVM: `kernel` is its file. */
export class OwnGuest {
  accel = 'kvm'
  #scenario
  #mailbox

  constructor(scenario, folder) {
    this.#scenario = scenario
    const { guest, memoryBytes } = scenario
    const image = buildGuest(workloadOf(guest), { memory: ramBlocks(memoryBytes) })
    this.#mailbox = new DataView(image.buffer, image.byteOffset).getBigUint64(PARAMETERS, true)
    this.kernel = join(folder, 'guest.elf')
    writeFileSync(this.kernel, image)
  }

  arguments() {
    return ['-kernel', this.kernel]
  }

  /** How many writes the guest has made. */
  async writes(qemu) {
    return Number((await qemu.word(this.#mailbox)) & COUNT)
  }

  async isAtWork(qemu) {
    return (
      (await qemu.word(this.#mailbox + 8n)) === 1n &&
      (await this.writes(qemu)) >= coverage(this.#scenario.guest)
    )
  }
}

/** A Linux with real programs. It runs without KVM: an emulating KVM is too slow for it. */
export class LinuxGuest {
  accel = 'tcg,thread=multi'
  #kernel
  #initrd
  #console

  constructor({ guest }, folder) {
    const { kernel, initrd } = linuxGuest(guest.load)
    this.#kernel = kernel
    this.#initrd = join(folder, 'initrd')
    this.#console = join(folder, 'console')
    writeFileSync(this.#initrd, initrd)
  }

  arguments() {
    const words = 'console=ttyS0 quiet loglevel=1 panic=-1'
    const boot = ['-kernel', this.#kernel, '-initrd', this.#initrd, '-append', words]
    return [...boot, '-cpu', 'max', '-serial', `file:${this.#console}`]
  }

  isAtWork() {
    return existsSync(this.#console) && readFileSync(this.#console, 'latin1').includes(AT_WORK)
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
