/** A whole Linux as the guest: Debian's own kernel, to a script that dirties a known amount of memory. */

import { describe, expect, it } from 'vitest'
import { created, PAGE, sleep } from '../fixtures/machine.js'
import { exactModesHere, logFor } from '../fixtures/modes.js'

/** The folder of the kernel and its initrd, whose script rewrites one file of this size, pass by pass, until the gate says that it may end. */
const LINUX: string = process.env.DIRTYRATE_RIG_LINUX ?? ''
const FILE_BYTES: number = Number(process.env.DIRTYRATE_RIG_LINUX_BYTES)
const GATE: number = Number(process.env.DIRTYRATE_RIG_LINUX_GATE)

/** For a kernel that does not come up to say where it stopped; how long it takes is not what is tested. */
const PATIENCE_MS = 300_000

describe.each(exactModesHere)('a Linux, by %s', mode => {
  it('boots to a shell, is measured, and ends the VM', async () => {
    const vm = await created({ memory: '512MiB', ...logFor(mode) })
    // Where the gate cannot be read it ends by itself, long after what is waited for.
    const passesAtMost = process.arch === 'arm64' ? ' passes=60' : ''
    const cmdline = `console=ttyS0 reboot=k panic=-1 mitigations=off nokaslr printk.devkmsg=on${passesAtMost}`
    await vm.load({ kernel: `${LINUX}/vmlinuz`, initrd: `${LINUX}/initrd`, cmdline })
    await vm.start()

    let text = ''
    const passes = (): number => text.match(/pass \d+ of the shell/g)?.length ?? 0
    const ended = (async () => {
      for await (const piece of vm.console) text += piece
    })()
    const patience = Date.now() + PATIENCE_MS
    while (passes() === 0 && vm.state === 'running' && Date.now() < patience) await sleep(20)
    expect(passes(), `${vm.state}: ${text}`).toBeGreaterThan(0)

    // Between the ends of two passes that the window saw there is a whole one, which writes each page of the file.
    for (let window = 1000; ; window *= 2) {
      const before = passes()
      const { pages = 0, bytesPerSecond, window: measured } = await vm.measureDirtyRate({ mode, window })
      // One may have been said before the window was open, and one after it.
      if (passes() - before < 4) continue
      expect(pages).toBeGreaterThanOrEqual(FILE_BYTES / PAGE)
      expect(bytesPerSecond).toBeGreaterThanOrEqual(FILE_BYTES / (measured.ns / 1e9))
      break
    }

    vm.writeMemory(GATE, Buffer.from('e'))
    await ended
    expect(text).toContain('the shell is done')
    expect(vm.state).toBe('shutdown')
  })
})
