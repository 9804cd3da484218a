/** How a duration is written. */

import { expect, it } from 'vitest'
import { duration } from '../../ts/prediction/words.js'

it.each([
  [2.5, '2.5 ms'],
  [300, '300 ms'],
  [59_000, '59 s'],
  [60_000, '1 min'],
  [300_000, '5 min'],
  [187_400, '187.4 s'],
  [630_000, '10.5 min'],
  [86_400_000, '24 h'],
])('%d ms is %s', (ms, text) => {
  expect(duration(ms)).toBe(text)
})
