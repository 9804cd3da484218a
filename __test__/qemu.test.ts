/**
 * Runs the same guest file under QEMU, and measures it by QEMU's own dirty-bitmap mode. Both
 * measurements must agree.
 */

import { expect, it, onTestFinished } from 'vitest'
import {
  buildGuest,
  type DirtyRateInfo,
  type DirtyRateMeasurement,
  type VirtualMachine,
  type VirtualMachineMeasurement,
  workload,
} from '../ts/index.js'
import { folder } from './fixtures/elf.js'
import { describeWith } from './fixtures/kvm.js'
import { PAGE, running } from './fixtures/machine.js'

/** What is used here of scripts/qemu/qemu.mjs. */
interface Qemu {
  measure(ms: number): Promise<DirtyRateInfo>
  kill(): Promise<void>
}
const { Qemu }: { Qemu: { start(args: string[]): Promise<Qemu> } } = await import(
  new URL('../scripts/qemu/qemu.mjs', import.meta.url).href
)

/** The page counts that QEMU's truncated MiB/s can stand for, its arithmetic read backwards. */
function pagesBehind(info: DirtyRateInfo): { low: number; high: number } {
  const rate = info['dirty-rate'] ?? Number.NaN
  const perMs = (mib: number): number => (mib * info['calc-time'] * (2 ** 20 / PAGE)) / 1000
  return { low: perMs(rate), high: perMs(rate + 1) }
}

/**
 * Measures until two in a row say the same, and not nothing: a machine has booted by then, firmware
 * and all.
 */
async function atWork<T>(measure: () => Promise<T>, figure: (measured: T) => number): Promise<T> {
  for (let last = 0; ; ) {
    const measured = await measure()
    if (last > 0 && figure(measured) === last) return measured
    last = figure(measured)
  }
}

describeWith('qemu-system-x86_64', 'the same guest under QEMU', () => {
  const guests = [
    { name: 'stride', guest: workload.stride({ pages: 10_240 }), mib: 256, vcpus: 1 },
    { name: 'stride', guest: workload.stride({ pages: 10_240 }), mib: 256, vcpus: 2 },
    { name: 'silent', guest: workload.silent({ pages: 10_240 }), mib: 256, vcpus: 1 },
    // On both sides of the hole below 4 GiB.
    {
      name: 'stride',
      guest: workload.stride({ pages: 10_240, placement: 'spread' }),
      mib: 4096,
      vcpus: 1,
    },
  ]
  it.each(guests)(
    'dirties as much by its count as by ours: $name, $vcpus vCPUs, $mib MiB',
    { timeout: 120_000 },
    async ({ guest, mib, vcpus }) => {
      // Long enough for every page of the working set, under emulation too.
      const window = 1000
      const memory = `${mib}MiB`
      const kernel = folder()('guest.elf', buildGuest(guest, { memory, vcpus }))
      const qemu = await Qemu.start(['-m', String(mib), '-smp', String(vcpus), '-kernel', kernel])
      onTestFinished(() => qemu.kill())
      const theirs = await atWork(
        () => qemu.measure(window),
        info => info['dirty-rate'] ?? 0,
      )
      await qemu.kill()

      const vm = await running({ kernel }, { memory, vcpus })
      const rounds = (of: VirtualMachine) => () => of.measureDirtyRate({ window })
      // At work is a guest that writes its whole working set in a window: not where something else
      // has the processors.
      const whole = ({ pages = 0 }: DirtyRateMeasurement): number =>
        pages < guest.pages ? 0 : pages
      const ours = await atWork(rounds(vm), whole)
      const { low, high } = pagesBehind(theirs)
      expect(ours.pages).toBeGreaterThanOrEqual(Math.floor(low))
      expect(ours.pages).toBeLessThan(high)
      expect(pagesBehind(ours.qapi).high).toBeGreaterThan(low)
      // And as a workload, with its truth beside it.
      await vm.close()
      const known: VirtualMachineMeasurement = await atWork(
        rounds(await running(guest, { memory, vcpus })),
        whole,
      )
      expect(known.pages).toBe(ours.pages)
      expect(known.truth?.pages).toBe(known.pages)
    },
  )
})
