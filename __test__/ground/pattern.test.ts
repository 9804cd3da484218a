/** Patterns of names, held against the regular expressions that mean the same. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isChosen, matches } from '../../ts/ground/pattern.js'

const asExpression = (pattern: string): RegExp =>
  new RegExp(
    `^${[...pattern].map(one => (one === '*' ? '[^]*' : one === '?' ? '[^]' : `\\x${one.charCodeAt(0).toString(16)}`)).join('')}$`,
  )

describe('a pattern', () => {
  it('means what its regular expression does', () => {
    const few = fc.string({ unit: fc.constantFrom('a', 'b', '.', '*', '?'), maxLength: 8 })
    fc.assert(
      fc.property(few, few, (text, pattern) => {
        expect(matches(text, pattern)).toBe(asExpression(pattern).test(text))
      }),
      { numRuns: 5000 },
    )
  })

  it('takes no long time, whatever it is', () => {
    const from = performance.now()
    expect(matches('a'.repeat(10_000), `${'*a'.repeat(500)}b`)).toBe(false)
    // Going back to each star would take years.
    expect(performance.now() - from).toBeLessThan(5_000)
  })
})

it('a name is chosen that is included, and not excluded', () => {
  expect(isChosen('web-1', {})).toBe(true)
  expect(isChosen('web-1', { include: ['db-*', 'web-?'] })).toBe(true)
  expect(isChosen('web-12', { include: ['db-*', 'web-?'] })).toBe(false)
  expect(isChosen('web-1', { include: ['web-*'], exclude: ['*-1'] })).toBe(false)
})
