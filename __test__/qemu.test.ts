/** The same guest file under QEMU, measured by QEMU's own dirty-bitmap mode: both must say the same. */

import { expect, it, onTestFinished } from 'vitest'
import { buildGuest, type DirtyRateInfo, workload } from '../ts/index.js'
import { folder } from './fixtures/elf.js'
import { describeWith } from './fixtures/kvm.js'
import { PAGE, running } from './fixtures/machine.js'

/** What is used here of scripts/qemu.mjs. */
interface Qemu {
  measure(ms: number): Promise<DirtyRateInfo>
  kill(): Promise<void>
}
const { Qemu }: { Qemu: { start(args: string[]): Promise<Qemu> } } = await import(
  new URL('../scripts/qemu.mjs', import.meta.url).href
)

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
      const qemu = await Qemu.start(['-m', String(memory), '-smp', String(vcpus), '-kernel', kernel])
      onTestFinished(() => qemu.kill())
      // It has booted, firmware and all, when two measurements in a row say the same.
      let last = -1
      let theirs = await qemu.measure(window)
      while (theirs['dirty-rate'] !== last || last === 0) {
        last = theirs['dirty-rate'] ?? -1
        theirs = await qemu.measure(window)
      }
      await qemu.kill()

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
