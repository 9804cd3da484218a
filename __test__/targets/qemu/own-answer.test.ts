/** Which answers may be about our job, by a clock that the tests set. */

import { expect, it } from 'vitest'
import type { DirtyRateInfo } from '../../../ts/qapi/types.js'
import { OwnAnswer } from '../../../ts/targets/qemu/own-answer.js'
import type { Job } from '../../../ts/targets/qemu/source.js'

const baseline = { before: false, after: false }
const bitmap = (windowMs: number): Job => ({ method: { mode: 'dirty-bitmap' }, windowMs, baseline })

/** Whether the last answer may be ours; each comes so many ms after the job was asked for. */
function judged(
  windowMs: number,
  answers: readonly (readonly [ms: number, info: Partial<DirtyRateInfo>])[],
): boolean[] {
  let nowMs = 5000
  const own = new OwnAnswer(bitmap(windowMs), () => nowMs)
  return answers.map(([ms, info]) => {
    nowMs = 5000 + ms
    return own.mayBe({
      status: 'measured',
      'start-time': 100,
      'calc-time': windowMs,
      'calc-time-unit': 'millisecond',
      'sample-pages': 0,
      mode: 'dirty-bitmap',
      ...info,
    })
  })
}
const measuring = (start: number, ms: number): Partial<DirtyRateInfo> => ({
  status: 'measuring',
  'start-time': start,
  'calc-time': ms,
})

it.each([
  ['as long as asked for', 1000, true],
  ['as long as the time since the start', 1200, true],
  ['1 ms more, by rounding', 1201, true],
  ['longer than the time since the start', 1210, false],
  ['shorter than asked for', 999, false],
])('a window %s', (_, ms, ours) => {
  expect(judged(1000, [[1200, { 'calc-time': ms }]])).toEqual([ours])
})

it('an answer that comes before the window can have passed is not ours', () => {
  expect(judged(1000, [[500, {}]])).toEqual([false])
})

it.each([
  // Ours began at 100.9, and the other one at 101.95 at the earliest.
  ['begins when ours has ended', 1050, 101, false],
  ['begins seconds later', 2000, 103, false],
  ['begins before ours', 10_000, 99, false],
  ['is ours, and begins a second after QEMU took it', 10_000, 101, true],
  ['is ours, and begins as late as no other job could', 10_000, 109, true],
  ['begins a window later', 10_000, 110, false],
])('a job %s', (_, windowMs, start, ours) => {
  const looks = [
    [30, measuring(100, windowMs)],
    [windowMs + 30, measuring(start, windowMs)],
  ] as const
  expect(judged(windowMs, looks)).toEqual([true, ours])
})

it('a window that begins in the next second before another job could begin is ours', () => {
  const looks = [
    [30, measuring(100, 1000)],
    [990, measuring(101, 1000)],
    [1500, { 'start-time': 101 }],
  ] as const
  expect(judged(1000, looks)).toEqual([true, true, true])
})

it.each([
  ['the next second', 101, true],
  ['a later one', 102, false],
])('a job with a short window that begins in %s', (_, start, ours) => {
  const looks = [
    [30, measuring(100, 50)],
    [80, measuring(start, 50)],
  ] as const
  expect(judged(50, looks)).toEqual([true, ours])
})

it('a job that runs with another window is not ours, and is not waited for', () => {
  expect(judged(1000, [[30, measuring(100, 60_000)]])).toEqual([false])
  // At its end ours says how long its window really was.
  expect(judged(1000, [[1020, measuring(100, 1015)]])).toEqual([true])
})

it('nothing is known of a job that has not begun', () => {
  const looks = [
    [10, { status: 'unstarted', 'start-time': 0, 'calc-time': 0 }],
    [30, measuring(100, 1000)],
  ] as const
  expect(judged(1000, looks)).toEqual([true, true])
})
