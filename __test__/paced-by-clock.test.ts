/**
 * Guests in files that keep their rate by their own clock, under QEMU, where no host paces them.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { buildGuest, type Workload, workload } from '../ts/index.js'
import { folder } from './fixtures/elf.js'
import { describeWith } from './fixtures/kvm.js'
import { PAGE } from './fixtures/machine.js'

/** What is used here of scripts/qemu/qemu.mjs. */
interface Qemu {
  word(address: bigint): Promise<bigint>
  signal(name: 'SIGSTOP' | 'SIGCONT'): void
  kill(): Promise<void>
}
const { Qemu }: { Qemu: { start(args: string[], accel: string): Promise<Qemu> } } = await import(
  new URL('../scripts/qemu/qemu.mjs', import.meta.url).href
)

/** A rate that a guest reaches where KVM emulates it, in half of the time too. */
const RATE = 24 * 2 ** 20
/** What a rate may be off, of the whole. */
const TOLERANCE = 0.02
/** How long the guest is observed. */
const WINDOW_MS = 4000
/**
 * How often the counts are read at each end, and how long apart: longer than a vCPU waits for a CPU
 * of a busy host.
 */
const LOOKS = 40
const LOOK_MS = 20
/** How long QEMU runs, and how long it is then stopped. */
const SLICE_MS = 25

/**
 * The file's content begins behind its headers; behind the code and the boot's words come a page of
 * parameters for each vCPU.
 */
const PARAMETERS = PAGE + 2 * PAGE
/**
 * The count is in the low bits of a mailbox's first word, the vCPU's number above it; the second
 * word says that the vCPU is ready.
 */
const COUNT = 2n ** 56n - 1n

/** Stops QEMU for half of the time until it is told to end; then QEMU runs. */
function steal(qemu: Qemu): () => Promise<void> {
  let ended = false
  const thief = (async () => {
    while (!ended) {
      qemu.signal('SIGSTOP')
      await sleep(SLICE_MS)
      qemu.signal('SIGCONT')
      await sleep(SLICE_MS)
    }
  })()
  return async () => {
    ended = true
    await thief
  }
}

interface Machine {
  how: string
  accel: string
  cpu: string
  guest: Workload
  vcpus: number
}

const stride = workload.stride({ pages: 10_240, rate: RATE })
const random = workload.random({ pages: 10_240, rate: RATE, placement: 'spread', seed: 3 })
const machines: Machine[] = [
  { how: "KVM's clock", accel: 'kvm', cpu: 'qemu64', guest: stride, vcpus: 1 },
  { how: "KVM's clock", accel: 'kvm', cpu: 'qemu64', guest: random, vcpus: 2 },
  { how: "the PC's timer", accel: 'kvm', cpu: 'qemu64,kvm=off', guest: stride, vcpus: 1 },
  { how: "the PC's timer", accel: 'tcg', cpu: 'qemu64', guest: random, vcpus: 2 },
]

describeWith('qemu-system-x86_64', 'a guest that is paced by its own clock', () => {
  it.each(machines)(
    'keeps its rate by $how under $accel, $vcpus vCPUs, left alone and stopped for half of the time',
    { timeout: 120_000 },
    async ({ accel, cpu, guest, vcpus }) => {
      const image = buildGuest(guest, { memory: '256MiB', vcpus })
      const view = new DataView(image.buffer, image.byteOffset)
      const mailboxes = Array.from({ length: vcpus }, (_, vcpu) =>
        view.getBigUint64(PARAMETERS + vcpu * PAGE, true),
      )
      const kernel = folder()('guest.elf', image)
      const qemu = await Qemu.start(
        ['-m', '256', '-smp', String(vcpus), '-cpu', cpu, '-kernel', kernel],
        accel,
      )
      onTestFinished(() => qemu.kill())
      // Half of the time is taken from the boot too, in which the guest finds its frequency.
      const endTheft = steal(qemu)
      for (const mailbox of mailboxes)
        while ((await qemu.word(mailbox + 8n)) !== 1n) await sleep(20)
      await endTheft()

      const epoch = performance.now()
      // A vCPU is late whenever it waits for a CPU, and never early: the best of some looks is its
      // own pace.
      const ahead = async (): Promise<number> => {
        let best = Number.NEGATIVE_INFINITY
        for (let look = 0; look < LOOKS; look++) {
          const due = (RATE / PAGE) * ((performance.now() - epoch) / 1000)
          let writes = 0
          for (const mailbox of mailboxes) writes += Number((await qemu.word(mailbox)) & COUNT)
          // The counts are a little younger than what was due.
          best = Math.max(best, writes - due)
          await sleep(LOOK_MS)
        }
        return best
      }
      for (const stolen of [false, true]) {
        const begun = performance.now()
        const first = await ahead()
        const end = stolen ? steal(qemu) : async () => {}
        await sleep(WINDOW_MS)
        await end()
        const off = (await ahead()) - first
        const due = (RATE / PAGE) * ((performance.now() - begun) / 1000)
        expect(Math.abs(off), `${off} of ${due} writes`).toBeLessThan(TOLERANCE * due)
      }
    },
  )
})
