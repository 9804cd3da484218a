/** The looks of an audit, and what their ratios say. */

import { describe, expect, it } from 'vitest'
import {
  type AuditedLook,
  factorsOf,
  type Look,
  looksOf,
  type Plan,
} from '../../../ts/cli/audit/looks.js'
import { median } from '../../../ts/cli/median.js'

const plan: Plan = {
  reference: { mode: 'dirty-bitmap' },
  fewSamples: 512,
  manySamples: 16_384,
  windowMs: 1000,
  shortMs: 300,
}
const sampled: Plan = {
  ...plan,
  reference: { mode: 'page-sampling', samplesPerGiB: 16_384 },
}

const interval = { low: 0, high: 0, confidence: 1 }
const taken = (look: Look, ...bytesPerSecond: number[]): AuditedLook => ({
  ...look,
  bytesPerSecond,
  interval,
  complete: true,
})

describe('the looks of an audit', () => {
  const words = (looks: readonly Look[]): string[] =>
    looks.map(
      ({ mode, samplesPerGiB = 'all', windowMs, read }) =>
        `${mode} ${samplesPerGiB} ${windowMs} ${read}`,
    )

  it('compare samples with an exact mode, and each window with and without a reader', () => {
    expect(words(looksOf(plan))).toEqual([
      'page-sampling 512 1000 false',
      'page-sampling 16384 1000 false',
      'dirty-bitmap all 1000 false',
      'dirty-bitmap all 1000 true',
      'dirty-bitmap all 300 false',
      'dirty-bitmap all 300 true',
    ])
  })

  it('have each kind once where samples are compared with more samples', () => {
    expect(words(looksOf(sampled))).toEqual([
      'page-sampling 512 1000 false',
      'page-sampling 16384 1000 false',
      'page-sampling 16384 1000 true',
      'page-sampling 16384 300 false',
      'page-sampling 16384 300 true',
    ])
  })

  it('have each window once', () => {
    const looks = words(looksOf({ ...plan, shortMs: 1000 }))
    expect(new Set(looks).size).toBe(looks.length)
  })
})

describe('the factors of an audit', () => {
  const rates = [
    [100, 200],
    [1, 1],
    [150, 150],
    [1, 1],
    [300, 600],
    [330, 300],
  ]
  const looks = looksOf(plan).map((look, at) => taken(look, ...(rates[at] ?? [])))

  it('are ratios of the same round', () => {
    expect(factorsOf(looks, plan)).toEqual({
      sampling: { value: (1.5 + 0.75) / 2, low: 0.75, high: 1.5 },
      window: { value: 3, low: 2, high: 4 },
      migration: { value: (1.1 + 0.5) / 2, low: 0.5, high: 1.1 },
      together: { value: (3.3 + 1.5) / 2, low: 1.5, high: 3.3 },
    })
  })

  it('multiply to the whole in each round', () => {
    const one = looksOf(plan).map((look, at) => taken(look, (at + 3) * 7))
    const { sampling, window, migration, together } = factorsOf(one, plan)
    const product = (sampling?.value ?? 0) * (window?.value ?? 0) * (migration?.value ?? 0)
    expect(product).toBeCloseTo(together?.value ?? 0, 12)
  })

  it('are absent if a look was refused, or if there is nothing to divide by', () => {
    const refused = looks.map(look => (look.read ? { ...look, refused: 'no' } : look))
    expect(Object.keys(factorsOf(refused, plan))).toEqual(['sampling', 'window'])
    const idle = looksOf(plan).map(look => taken(look, 0))
    expect(factorsOf(idle, plan)).toEqual({})
  })
})

it('the median of an even number is between the two in the middle', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5)
  expect(median([3, 1, 2])).toBe(2)
})
