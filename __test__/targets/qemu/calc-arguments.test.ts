/** What is sent with calc-dirty-rate, by the versions of QEMU. */

import { expect, it } from 'vitest'
import { calcArguments, requireWindow } from '../../../ts/targets/qemu/calc-arguments.js'

const SAMPLES = {
  samplesPerGiB: 1024,
  confidence: 0.95,
  design: 'simple-random',
  interval: 'wilson',
} as const
const SAMPLING = { mode: 'page-sampling', samples: SAMPLES } as const

it('times are in milliseconds, or in seconds where QEMU has no unit for them', () => {
  expect(calcArguments(SAMPLING, 2000)).toEqual({
    'calc-time': 2000,
    'calc-time-unit': 'millisecond',
    'sample-pages': 1024,
    mode: 'page-sampling',
  })
  expect(calcArguments({ mode: 'dirty-bitmap' }, 2000, false)).toEqual({
    'calc-time': 2,
    mode: 'dirty-bitmap',
  })
})

it.each([49, 60_001, 50.5, 1000.25])('a window of %s ms is refused, and not rounded', windowMs => {
  expect(() => requireWindow(windowMs)).toThrow(
    expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringMatching(/^window: /) }),
  )
})

it.each([50, 60_000])('a window of %s ms is measured', windowMs => {
  expect(() => requireWindow(windowMs)).not.toThrow()
})
