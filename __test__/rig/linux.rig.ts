/** A whole Linux as the guest: Debian's own kernel, to a script that dirties a known amount of memory. */

import { describe, expect, it } from 'vitest'
import type { Mode, VirtualMachine } from '../../ts/index.js'
import { created, PAGE, sleep } from '../fixtures/machine.js'
import { exactModesHere, logFor } from '../fixtures/modes.js'

/** The folder of the kernel and its initrd, whose script rewrites one file of this size, pass by pass, until the gate says that it may end. */
const LINUX: string = process.env.DIRTYRATE_RIG_LINUX ?? ''
const FILE_BYTES: number = Number(process.env.DIRTYRATE_RIG_LINUX_BYTES)
const GATE: number = Number(process.env.DIRTYRATE_RIG_LINUX_GATE)
const VCPUS = 2

/** Of an emulated rig's boots, some stand; how long one takes that does not is not what is tested. */
const BOOTS = 3
const PATIENCE_MS = 120_000

/** Boots Linux, again where it stands, until its shell has done its first pass; the VM, and its console's text as it comes. */
async function booted(mode: Mode): Promise<{ vm: VirtualMachine; said: () => string; ended: Promise<void> }> {
  // Where the gate cannot be read it ends by itself, long after what is waited for.
  const passesAtMost = process.arch === 'arm64' ? ' passes=60' : ''
  const cmdline = `console=ttyS0 panic=-1 mitigations=off nokaslr printk.devkmsg=on${passesAtMost}`
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

describe.each(exactModesHere)('a Linux, by %s', mode => {
  it('boots to a shell, is measured, and powers off', async () => {
    const { vm, said, ended } = await booted(mode)

    // Between the ends of two passes that the window saw there is a whole one, which writes each page of the file.
    for (let window = 1000; ; window *= 2) {
      const before = passesIn(said())
      const { pages = 0, bytesPerSecond, window: measured } = await vm.measureDirtyRate({ mode, window })
      // One may have been said before the window was open, and one after it.
      if (passesIn(said()) - before < 4) continue
      expect(pages).toBeGreaterThanOrEqual(FILE_BYTES / PAGE)
      expect(bytesPerSecond).toBeGreaterThanOrEqual(FILE_BYTES / (measured.ns / 1e9))
      break
    }

    vm.writeMemory(GATE, Buffer.from('e'))
    await ended
    expect(said()).toContain(`${VCPUS} CPUs`)
    expect(said()).toContain('the shell is done')
    expect(said()).toMatch(/reboot: Power down/)
    expect(vm.state).toBe('shutdown')
  })
})
