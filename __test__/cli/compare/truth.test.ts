/** What is known about a window whose ends nobody has seen. */

import { expect, it } from 'vitest'
import {
  certainError,
  errorOf,
  lengthOf,
  pagesBetween,
  type Reading,
  surelyWithin,
  truthOf,
} from '../../../ts/cli/compare/truth.js'
import { guestProgram, workload } from '../../../ts/targets/vm/workload.js'

const MEMORY = 64 * 2 ** 20

function reading(writes: number[], askedMs = 0, answeredMs = askedMs): Reading {
  return { writes, askedMs, answeredMs }
}

/** The pages that a stride over `pages` pages surely and possibly wrote, and its mailboxes. */
function strideBounds(pages: number, vcpus: number, of: readonly number[][]): Promise<unknown> {
  const memory = [
    { name: 'ram', guestAddress: process.arch === 'arm64' ? '1GiB' : 0, bytes: MEMORY },
  ] as const
  const program = guestProgram(workload.stride({ pages }), { memory, vcpus })
  const [before = [], after = [], ...within] = of
  return pagesBetween(
    program,
    [reading(before), reading(after)],
    within.map(writes => reading(writes)),
  )
}

it('bounds the pages by the readings around the window and by those within it', async () => {
  // A stride writes a page with each write until it begins anew, and one page has its counter.
  // Writes are numbered from 0. Those from 50 to 59 are surely in the window. Write 49 may have
  // been made before the window, and counted later. Write 70 may have been made, and not counted.
  expect(await strideBounds(1000, 1, [[40], [70], [49], [60]])).toEqual({ low: 11, high: 32 })
})

it('knows no lower bound without two readings within the window', async () => {
  const high = 32
  expect(await strideBounds(1000, 1, [[40], [70]])).toEqual({ low: 0, high })
  expect(await strideBounds(1000, 1, [[40], [70], [50]])).toEqual({ low: 0, high })
})

it('counts a page once, however often it was written', async () => {
  const exact = { low: 101, high: 101 }
  expect(await strideBounds(100, 1, [[1000], [5000], [2000], [4000]])).toEqual(exact)
})

it('takes each vCPU for itself', async () => {
  // Each of two vCPUs writes a half of the pages. The second one stands still within the window,
  // but may have a write under way.
  expect(
    await strideBounds(1000, 2, [
      [10, 7],
      [30, 7],
      [12, 7],
      [22, 7],
    ]),
  ).toEqual({ low: 9 + 1, high: 21 + 1 + 1 + 1 })
})

it.each([
  ['before the window can have begun', 120, 130, 0],
  ['while the window may still have to begin', 138, 142, 0],
  ['within the window', 139, 150, 1],
  ['until the window can have ended', 150, 299, 1],
  ['over the end of the window', 298, 300, 0],
])('a reading %s', (_, askedMs, answeredMs, count) => {
  // The window of 200 ms was asked for at 100 ms, and at 338 ms it had ended. It began from 100 ms
  // to 139 ms, because it may be 1 ms shorter than it says. So it ended from 299 ms to 338 ms.
  const window = { askedMs: 100, knownMs: 338, requestedMs: 200, wholeMs: 200 }
  expect(surelyWithin([reading([1], askedMs, answeredMs)], window)).toHaveLength(count)
})

it('knows the length of a window to a millisecond', () => {
  expect(lengthOf(200)).toEqual({ low: 199e6, high: 201e6 })
})

it('gives an error between bounds, and 0 as certain where the rate may be right', () => {
  const truth = truthOf({ low: 90, high: 110 }, 1000, { low: 1e9, high: 1e9 })
  expect(truth.bytesPerSecond).toEqual({ low: 90_000, high: 110_000 })
  const near = errorOf(99_000, truth)
  expect(near?.low).toBeCloseTo(-0.1)
  expect(near?.high).toBeCloseTo(0.1)
  expect(near && certainError(near)).toBe(0)
  const high = errorOf(220_000, truth)
  expect(high && certainError(high)).toBeCloseTo(1)
  const low = errorOf(45_000, truth)
  expect(low && certainError(low)).toBeCloseTo(-0.5)
})

it('knows no largest error of a guest that may have written nothing', () => {
  const truth = truthOf({ low: 0, high: 110 }, 1000, { low: 1e9, high: 2e9 })
  expect(errorOf(55_000, truth)).toEqual({ low: -0.5, high: null })
  expect(errorOf(0, truthOf({ low: 0, high: 0 }, 1000, lengthOf(200)))).toBeNull()
})
