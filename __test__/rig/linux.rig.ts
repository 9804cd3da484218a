/**
 * A whole Linux as the guest: Debian's own kernel, to a script that dirties a known amount of
 * memory.
 */

import { describe, expect, it } from 'vitest'
import type { Mode, VirtualMachine } from '../../ts/index.js'
import { created, PAGE, sleep } from '../fixtures/machine.js'
import { exactModesHere, logFor } from '../fixtures/modes.js'

/**
 * The folder of the kernel and its initrd, whose script rewrites one file of this size, pass by
 * pass, until its mailbox says that it may end.
 */
const LINUX: string = process.env.DIRTYRATE_RIG_LINUX ?? ''
const FILE_BYTES: number = Number(process.env.DIRTYRATE_RIG_LINUX_BYTES)
/**
 * What the mailbox begins with: the passes that are done come behind it, then what the host
 * changes.
 */
const MAILBOX: Buffer = Buffer.from(process.env.DIRTYRATE_RIG_LINUX_MAILBOX ?? '')
const DIGITS = 8
const VCPUS = 2

/**
 * Of an emulated rig's boots, some stand; how long one takes that does not is not what is tested.
 */
const BOOTS = 3
const PATIENCE_MS = 120_000

/**
 * Boots Linux, again where it stands, until its shell has done its first pass; the VM, and its
 * console's text as it comes.
 */
async function booted(
  mode: Mode,
): Promise<{ vm: VirtualMachine; said: () => string; ended: Promise<void> }> {
  const cmdline = 'console=ttyS0 panic=-1 mitigations=off nokaslr printk.devkmsg=on'
  const stood: string[] = []
  while (stood.length < BOOTS) {
    const vm = await created({ memory: '512MiB', vcpus: VCPUS, ...logFor(mode) })
    await vm.load({ kernel: `${LINUX}/vmlinuz`, initrd: `${LINUX}/initrd`, cmdline })
    await vm.start()
    let text = ''
    const ended = (async () => {
      for await (const piece of vm.console) text += piece
    })()
    const patience = Date.now() + PATIENCE_MS
    while (passesIn(text) === 0 && vm.state === 'running' && Date.now() < patience) await sleep(20)
    if (passesIn(text) > 0) return { vm, said: () => text, ended }
    stood.push(`${vm.state}: ${text}`)
    console.log(`boot ${stood.length} of Linux has come to nothing:\n${text}`)
    await vm.close()
    await ended
  }
  throw new Error(`Linux does not come up in ${BOOTS} boots:\n${stood.join('\n')}`)
}

const passesIn = (text: string): number => text.match(/pass \d+ of the shell/g)?.length ?? 0

/** The passes that a mailbox at this address counts; not a number where there is none. */
async function passesAt(vm: VirtualMachine, address: number): Promise<number> {
  const page = Buffer.alloc(MAILBOX.length + DIGITS)
  await vm.readMemory(address, page)
  return page.subarray(0, MAILBOX.length).equals(MAILBOX)
    ? Number(page.toString('latin1', MAILBOX.length))
    : Number.NaN
}

/**
 * Where the mailbox is in the guest's memory: of its copies, such as the one in the initrd, the one
 * that counts.
 */
async function mailboxOf(vm: VirtualMachine): Promise<number> {
  const piece = Buffer.alloc(2 ** 24)
  for (const { guestAddress, bytes } of vm.blocks) {
    for (let from = guestAddress; from < guestAddress + bytes; from += piece.length) {
      await vm.readMemory(from, piece)
      for (let at = piece.indexOf(MAILBOX); at !== -1; at = piece.indexOf(MAILBOX, at + 1)) {
        if ((await passesAt(vm, from + at)) > 0) return from + at
      }
    }
  }
  throw new Error('the guest counts nowhere')
}

describe.each(exactModesHere)('a Linux, by %s', mode => {
  it('boots to a shell, is measured, and powers off', async () => {
    const { vm, said, ended } = await booted(mode)
    const mailbox = await mailboxOf(vm)

    for (let window = 1000; ; window *= 2) {
      const samples: { from: number; passes: number; to: number }[] = []
      const timer = setInterval(async () => {
        const from = performance.now()
        const passes = await passesAt(vm, mailbox)
        samples.push({ from, passes, to: performance.now() })
      }, 10)
      const asked = performance.now()
      const {
        pages = 0,
        bytesPerSecond,
        window: measured,
      } = await vm.measureDirtyRate({ mode, window })
      const ms = measured.ns / 1e6
      const opened = performance.now() - ms
      clearInterval(timer)
      // The window was open from then at the latest, and until `asked + ms` at the earliest. Of two
      // passes that ended between samples within, the second one began there as well: it wrote each
      // page of the file.
      const inside = samples.filter(({ from, to }) => from >= opened && to <= asked + ms)
      if (!((inside.at(-1)?.passes ?? 0) - (inside[0]?.passes ?? 0) >= 2)) continue
      expect(pages).toBeGreaterThanOrEqual(FILE_BYTES / PAGE)
      expect(bytesPerSecond).toBeGreaterThanOrEqual(FILE_BYTES / (measured.ns / 1e9))
      break
    }

    await vm.writeMemory(mailbox + MAILBOX.length + DIGITS, Buffer.from('e'))
    await ended
    expect(said()).toContain(`${VCPUS} CPUs`)
    expect(said()).toContain('the shell is done')
    expect(said()).toMatch(/reboot: Power down/)
    expect(vm.state).toBe('shutdown')
  })
})
