/** What a hint proposes must be accepted, because a wrong proposal causes a second failure. */

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type OptionNames,
  parseChoice,
  parseCountText,
  parseOptions,
} from '../../ts/ground/arguments.js'
import { closest } from '../../ts/ground/suggest.js'
import { parseDuration, parseRate, parseSize } from '../../ts/ground/units.js'
import { parseWindow } from '../../ts/measurement/windows.js'
import { workloadOfUri } from '../../ts/targets/vm/images.js'
import { parseMemory } from '../../ts/targets/vm/memory.js'
import { makeWorkload, type WorkloadKind, workloadKinds } from '../../ts/targets/vm/workload.js'

/** The hint of the ERR_ARGUMENT that `call` throws; undefined if it throws none. */
function hintOf(call: () => unknown): string | undefined {
  try {
    call()
    return undefined
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_ARGUMENT' })
    return (error as { hint: string }).hint
  }
}

/** What "Did you mean X?" and "such as NAME=X" propose. */
const proposed = (hint: string | undefined): string | undefined =>
  hint?.match(/Did you mean '?(.*?)'?\?/)?.[1] ?? hint?.match(/such as [\w-]+=(\S+)\./)?.[1]

const digits = fc.stringMatching(/^[0-9]{1,9}(\.[0-9]{1,6})?$/)
const unit = fc.constantFrom(
  '',
  'S',
  'MS',
  'mS',
  'm',
  'sec',
  'G',
  'GB',
  'gib',
  'Mib',
  'mbit/s',
  'KB',
  'kiB',
  'MiBs',
  'b',
)

describe.each<[string, (text: string) => unknown]>([
  ['a window', text => parseWindow(text, 'window')],
  ['a duration', text => parseDuration(text, 'duration')],
  ['a size', text => parseSize(text, 'size')],
  ['memory', text => parseMemory(text)],
  ['a rate', text => parseRate(text, 'rate')],
])('%s', (_, parse) => {
  it('is proposed as one that is accepted', () => {
    fc.assert(
      fc.property(digits, unit, (number, unit) => {
        const text = proposed(hintOf(() => parse(number + unit)))
        if (text !== undefined) expect(hintOf(() => parse(text))).toBeUndefined()
      }),
      { numRuns: 1000 },
    )
  })
})

it.each([
  ['0', undefined],
  ['99999999', undefined],
  ['0.5', '0.5s'],
])('a window of %s is proposed as %s', (text, meant) => {
  expect(proposed(hintOf(() => parseWindow(text, 'window')))).toBe(meant)
})

it('pages are proposed as many as the workload takes', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...workloadKinds),
      fc.integer({ min: 1, max: 64 }),
      (kind, vcpus) => {
        const pages = proposed(
          hintOf(() => workloadOfUri(kind, { pages: '1k', vcpus: String(vcpus) })),
        )
        expect(pages).toBeDefined()
        const guest = workloadOfUri(kind, { pages: pages ?? '', vcpus: String(vcpus) })
        if (kind !== 'idle') expect(guest.pages).toBeGreaterThanOrEqual(vcpus)
      },
    ),
  )
})

it('an option is proposed only if the workload has a use for it', () => {
  const hint = (kind: WorkloadKind, name: string) =>
    hintOf(() => makeWorkload(kind, { pages: 1, [name]: 1 }))
  expect(proposed(hint('random', 'sed'))).toBe('seed')
  expect(hint('stride', 'sed')).toBe('Known: pages, rate, pacing, granted, sharing, placement.')
  expect(hint('idle', 'page')).toBe('Leave it out.')
})

it('a count is proposed within its range', () => {
  expect(proposed(hintOf(() => parseCountText('many', '--count', 3, 9)))).toBe('3')
})

describe('names', () => {
  const choices = ['page-sampling', 'dirty-ring', 'dirty-bitmap'] as const
  it.each([
    ['dirtyring', 'dirty-ring'],
    ['dirty_bitmap', 'dirty-bitmap'],
    ['Dirty-Rign', 'dirty-ring'],
    ['pagesampling', 'page-sampling'],
    ['x', undefined],
    ['', undefined],
    ['dirty', undefined],
  ])('%s most likely meant %s', (word, meant) => {
    const hint = hintOf(() => parseChoice(word, 'mode', choices))
    expect(proposed(hint)).toBe(meant)
    expect(hint).toContain('Known: page-sampling, dirty-ring, dirty-bitmap.')
  })

  it('are proposed with one slip in them, whatever the slip', () => {
    const names: OptionNames<Record<'window' | 'mode' | 'samplePages' | 'signal', number>> = {
      window: true,
      mode: true,
      samplePages: true,
      signal: true,
    }
    const slip = fc.record({
      at: fc.nat(),
      letter: fc.stringMatching(/^[a-z]$/),
      what: fc.nat({ max: 3 }),
    })
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(names)), slip, (name, { at, letter, what }) => {
        const i = at % name.length
        const before = name.slice(0, i)
        const wrong = [
          before + name.slice(i + 1),
          before + letter + name.slice(i),
          before + letter + name.slice(i + 1),
          before + (name[i + 1] ?? '') + name[i] + name.slice(i + 2),
        ][what] as string
        fc.pre(!Object.hasOwn(names, wrong))
        expect(proposed(hintOf(() => parseOptions({ [wrong]: 1 } as never, names)))).toBe(name)
      }),
    )
  })

  it.each([
    ['', ['']],
    ['', ['a', 'on']],
    ['-', ['a']],
    ['a', ['']],
  ])('closest(%j, %j) is none, because nothing is like an empty word', (word, known) => {
    expect(closest(word, known)).toBeUndefined()
  })

  it('are found in no time, whatever was written', () => {
    expect(closest('x'.repeat(1_000_000), choices)).toBeUndefined()
  })
})
