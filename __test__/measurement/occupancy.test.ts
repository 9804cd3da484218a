/** Compares the curve of a guest that writes at random with its theory, the occupancy problem. */

import { describe, expect, it } from 'vitest'
import { type VirtualMachine, type WorkloadInstant, workload } from '../../ts/index.js'
import { THEORY, WRITES_PER_SECOND } from '../fixtures/gudkov-2023-windows.js'
import { running, windowOpened } from '../fixtures/machine.js'
import { describeMode, exactModesHere, logFor } from '../fixtures/modes.js'
import { deviationOfDistinct, meanDistinct, varianceOfDistinct } from '../fixtures/occupancy.js'
import { expectTruth, markedByWalks } from '../fixtures/truth.js'

const MIB = 2 ** 20
/** The page size of the machine that the published figures are of. */
const PUBLISHED_PAGE = 4096

/** The probability of each number of distinct pages, write by write. */
function distribution(pages: number, writes: number): number[] {
  let chance = [1, ...Array<number>(pages).fill(0)]
  for (let write = 0; write < writes; write++) {
    chance = chance.map(
      (stays, distinct) =>
        stays * (distinct / pages) + (chance[distinct - 1] ?? 0) * (1 - (distinct - 1) / pages),
    )
  }
  return chance
}

describe('the occupancy problem', () => {
  it.each([
    [1, 3],
    [2, 1],
    [7, 0],
    [7, 5],
    [40, 30],
    [40, 200],
    [64, 64],
  ])(
    'of %d pages and %d writes has the mean and the variance of its distribution',
    (pages, writes) => {
      const chance = distribution(pages, writes)
      const mean = chance.reduce((sum, p, distinct) => sum + p * distinct, 0)
      const variance = chance.reduce((sum, p, distinct) => sum + p * (distinct - mean) ** 2, 0)
      expect(meanDistinct(pages, writes)).toBeCloseTo(mean, 9)
      expect(varianceOfDistinct(pages, writes)).toBeCloseTo(variance, 9)
      for (const miss of [0.3, 0.05, 1e-3, 1e-9]) {
        const away = deviationOfDistinct(pages, writes, miss)
        const tail = chance.reduce(
          (sum, p, distinct) => sum + (Math.abs(distinct - mean) >= away ? p : 0),
          0,
        )
        expect(tail).toBeLessThanOrEqual(miss)
      }
    },
  )

  it('is the theory of the published figures, all fifteen of them', () => {
    for (const { windowMs, mibPerSecond } of THEORY) {
      for (const [bytes, published] of Object.entries(mibPerSecond)) {
        const distinct = meanDistinct(
          Number(bytes) / PUBLISHED_PAGE,
          (WRITES_PER_SECOND * windowMs) / 1000,
        )
        expect(Math.round((distinct * PUBLISHED_PAGE) / MIB / (windowMs / 1000))).toBe(published)
      }
    }
  })
})

/**
 * The guest's counters at a point of time that lies between the two of performance.now(): it stood
 * still then.
 */
interface Still {
  from: number
  to: number
  instant: WorkloadInstant
}

/** Has the guest write in small parts until `over`, and says where it was between them. */
async function write(vm: VirtualMachine, part: number, over: Promise<unknown>): Promise<Still[]> {
  const { workload } = vm
  if (workload === undefined) throw new Error('no workload')
  let going = true
  const stop = (): void => {
    going = false
  }
  over.then(stop, stop)
  const since = Number.NEGATIVE_INFINITY
  const stills: Still[] = [{ from: since, to: since, instant: workload.instant() }]
  while (going) {
    workload.grant(part)
    await workload.settled()
    const from = performance.now()
    stills.push({ from, to: performance.now(), instant: workload.instant() })
  }
  return stills
}

const PAGES = 6000
const PART = 40
const WINDOWS = [40, 80, 160, 320, 640, 1280]
/** The probability that a right figure fails, of each of some thousand figures. */
const MISS = 1e-12

for (const mode of exactModesHere) {
  describeMode(mode, `the curve by ${mode} of a guest that writes at random`, () => {
    it.each([1, 77])(
      'is the replay of it, and has the shape of the theory: seed %d',
      async seed => {
        const guest = workload.random({ pages: PAGES, granted: true, seed })
        const vm = await running(guest, logFor(mode))
        const { dirtyMemory } = vm
        await vm.workload?.settled()
        await dirtyMemory.startTracking('migration')
        await dirtyMemory.sync()

        const called = performance.now()
        const curve = vm.measureDirtyCurve({ windows: WINDOWS })
        await windowOpened(vm)
        // It stood still until here: the first of its writes is the first of the window.
        const opened = performance.now()
        const stills = await write(vm, PART, curve)
        const { points, complete } = await curve
        expect(complete).toBe(true)

        const begin = stills[0]?.instant as WorkloadInstant
        const replayed = async ({ instant }: Still): Promise<number> =>
          (await vm.workload?.truth(begin, instant))?.pages ?? Number.NaN
        const writes = ({ instant }: Still): number =>
          (instant.writes[0] ?? Number.NaN) - (begin.writes[0] ?? Number.NaN)
        /** Its mailbox, and the page that the host grants in, are pages too. */
        const others = 2
        const marked = await markedByWalks(vm)

        for (const point of points) {
          const { pages, requestedMs, windowNs } = point
          expectTruth(point)
          // The window closed then, by the test's own clock; so the guest was at least as far as
          // `before`, and at most as `after`.
          const closed = { from: called + requestedMs, to: opened + windowNs / 1e6 }
          const before = stills.findLast(still => still.to <= closed.from) as Still
          const after = stills.find(still => still.from >= closed.to) ?? (stills.at(-1) as Still)
          expect(pages).toBeGreaterThanOrEqual(await replayed(before))
          expect(pages).toBeLessThanOrEqual((await replayed(after)) + marked)
          const [least, most] = [writes(before), writes(after)]
          expect(pages - others).toBeGreaterThanOrEqual(
            meanDistinct(PAGES, least) - deviationOfDistinct(PAGES, least, MISS),
          )
          expect(pages - others - marked).toBeLessThanOrEqual(
            meanDistinct(PAGES, most) + deviationOfDistinct(PAGES, most, MISS),
          )
        }
      },
    )
  })
}
