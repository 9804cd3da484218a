/**
 * What QEMU's measurements are worth: each agrees with the guest's own count. In the long form of
 * the tests, on QEMU 7.2 too, and over as many measurements as show what the intervals promise.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { openTarget, type QmpTarget, type Workload, workload } from '../../../ts/index.js'
import { describeWith, full } from '../../fixtures/kvm.js'
import { PAGE } from '../../fixtures/machine.js'
import { mostMisses } from '../../fixtures/misses.js'
import { type GuestOptions, type QemuGuest, startQemu } from '../../fixtures/qemu.js'

const { oldQemu }: { oldQemu(): { program: string; args: string[] } | undefined } = await import(
  new URL('../../../scripts/qemu/old.mjs', import.meta.url).href
)

/** 40 MiB: an emulated guest too writes all of it several times in a second. */
const PAGES = 10_240
/** Pages that the guest writes beside these: its mailbox, its stack, what its boot left. */
const OTHERS = 8
const CONFIDENCE = 0.95
const MIB = 2 ** 20
/** The guests and the accelerators that a QEMU is measured with. */
const old = full ? oldQemu() : undefined
const versions: {
  name: string
  options: GuestOptions
  sampling: number
  /** QEMU rounds the length of the window down to a multiple of this. */
  roundedMs: number
}[] = [
  { name: 'QEMU 10', options: {}, sampling: full ? 100 : 6, roundedMs: 1 },
  ...(old === undefined
    ? []
    : [{ name: 'QEMU 7.2', options: old, sampling: 100, roundedMs: 1000 }]),
]

async function started(
  guest: Workload,
  options: GuestOptions,
): Promise<{ guest: QemuGuest; target: QmpTarget }> {
  const running = await startQemu(guest, options)
  onTestFinished(() => running.end())
  await running.atWork()
  const target = await openTarget(`qmp:${running.path}`)
  onTestFinished(() => target.close())
  return { guest: running, target }
}

/**
 * Measures by the bitmap, and reads the guest's count of writes meanwhile. `most` is counted from
 * before the window to after it, `least` from after its beginning to before its end.
 */
async function counted(
  { qemu, writes }: QemuGuest,
  target: QmpTarget,
  roundedMs: number,
): Promise<{ least: number; most: number; low: number; high: number }> {
  const isMeasuring = async (): Promise<boolean> => {
    const { status } = (await qemu.execute('query-dirty-rate')) as { status: string }
    return status === 'measuring'
  }
  const before = await writes()
  const measured = target.measureDirtyRate({ mode: 'dirty-bitmap', window: '2s' })
  while (!(await isMeasuring())) await sleep(5)
  // The log goes on a little after the state does.
  await sleep(300)
  const first = await writes()
  let seen = first
  let last = first
  for (;;) {
    const now = await writes()
    if (!(await isMeasuring())) break
    last = seen
    seen = now
    await sleep(20)
  }
  const { interval, window } = await measured
  const after = await writes()
  const pages = (rate: number, ms: number): number => (rate * ms) / 1000 / PAGE
  const ms = window.ns / 1e6
  return {
    least: last - first,
    most: after - before,
    low: pages(interval.low, ms),
    high: pages(interval.high ?? Number.POSITIVE_INFINITY, ms + roundedMs),
  }
}

describeWith('qemu-system-x86_64', "the guest's own count", () => {
  it.each(versions)(
    'is in the interval of the bitmap of $name: a guest that is paced by its own clock',
    { timeout: full ? 900_000 : 120_000 },
    async ({ options, roundedMs }) => {
      // It is slow enough to write no page twice within the window.
      const { guest, target } = await started(
        workload.stride({ pages: 25_600, rate: 24.5 * MIB }),
        options,
      )
      for (let round = 0; round < (full ? 100 : 1); round++) {
        const { least, most, low, high } = await counted(guest, target, roundedMs)
        expect(least).toBeGreaterThan(0)
        expect(low).toBeLessThanOrEqual(most + OTHERS)
        expect(high).toBeGreaterThan(least)
      }
    },
  )

  it.each(versions)(
    'is in as many intervals of samples of $name as they promise',
    { timeout: 300_000 },
    async ({ sampling, options }) => {
      const { target } = await started(workload.stride({ pages: PAGES }), options)
      let misses = 0
      for (let round = 0; round < sampling; round++) {
        const { interval, window } = await target.measureDirtyRate({
          window: '1s',
          confidence: CONFIDENCE,
          samplePages: round % 2 === 0 ? 512 : 4096,
        })
        const rate = (PAGES * PAGE * 1000) / (window.ns / 1e6)
        if (rate < interval.low || rate > (interval.high ?? 0)) misses++
      }
      expect(misses).toBeLessThanOrEqual(mostMisses(sampling, CONFIDENCE))
    },
  )
})
