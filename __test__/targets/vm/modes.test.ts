import { describe, expect, it } from 'vitest'
import { chooseMethod } from '../../../ts/measurement/mode.js'
import type { Source } from '../../../ts/measurement/source.js'
import { modes } from '../../../ts/results/mode.js'
import {
  abilitiesOf,
  type DirtyLogKind,
  exactMode,
  modesOf,
  modeUnavailable,
  RING_UNAVAILABLE,
  ringUnsupported,
} from '../../../ts/targets/vm/modes.js'

const NO_RING = 'this kernel has no dirty ring'

/** What a VM with this log tells the meter of its modes. */
const source = (
  log: DirtyLogKind,
  kernelHasRing: boolean,
): Pick<Source, 'modes' | 'modeUnavailable'> => ({
  modes: abilitiesOf(log),
  modeUnavailable: mode => modeUnavailable(mode, log, kernelHasRing),
})

describe('the modes', () => {
  it('of a VM are the one of its log, and sampling', () => {
    expect(exactMode('ring')).toBe('dirty-ring')
    expect(exactMode('bitmap')).toBe('dirty-bitmap')
    expect(modesOf('ring')).toEqual(['dirty-ring', 'page-sampling'])
    expect(modesOf('bitmap')).toEqual(['dirty-bitmap', 'page-sampling'])
  })

  it('say what they cost, and whether they are exact', () => {
    const abilities = [...abilitiesOf('ring'), ...abilitiesOf('bitmap')]
    // The bits of a process are for processes that another program has made.
    const own = modes.filter(mode => mode !== 'soft-dirty')
    expect(new Set(abilities.map(({ mode }) => mode))).toEqual(new Set(own))
    for (const { mode, exact, costToGuest } of abilities) {
      expect(exact).toBe(mode !== 'page-sampling')
      expect(costToGuest).not.toBe('')
    }
  })
})

describe('the choice', () => {
  it.each([
    ['auto', 'bitmap', 'dirty-bitmap'],
    ['auto', 'ring', 'dirty-ring'],
    ['page-sampling', 'ring', 'page-sampling'],
    ['dirty-ring', 'ring', 'dirty-ring'],
    ['dirty-bitmap', 'bitmap', 'dirty-bitmap'],
  ] as const)('of %s on a VM with a %s is %s', (wanted, log, mode) => {
    for (const kernelHasRing of [true, false])
      expect(chooseMethod(source(log, kernelHasRing), { mode: wanted })).toMatchObject({ mode })
  })

  it('refuses the mode of the other log, and says how to have it', () => {
    expect(() => chooseMethod(source('bitmap', true), { mode: 'dirty-ring' })).toThrow(
      expect.objectContaining({
        code: 'ERR_MODE_UNAVAILABLE',
        message:
          'mode dirty-ring is not available: this VM has a dirty bitmap, with the modes dirty-bitmap and page-sampling',
        hint: expect.stringContaining('ring-entries=65536'),
      }),
    )
    for (const kernelHasRing of [true, false])
      expect(() => chooseMethod(source('ring', kernelHasRing), { mode: 'dirty-bitmap' })).toThrow(
        expect.objectContaining({ hint: expect.stringContaining('log=bitmap') }),
      )
  })

  it('does not send anybody after a ring that the kernel has not', () => {
    const { hint } = modeUnavailable('dirty-ring', 'bitmap', false)
    expect(hint).toContain(NO_RING)
    expect(hint).not.toContain('ring-entries')
    expect(modeUnavailable('dirty-ring', 'bitmap', true).hint).not.toContain(NO_RING)
  })

  it('says of a kernel without rings what it does instead', () => {
    expect(RING_UNAVAILABLE).toMatchObject({
      code: 'RING_UNAVAILABLE',
      message: expect.stringContaining(`${NO_RING}`),
    })
    expect(ringUnsupported()).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining(NO_RING),
      hint: expect.stringContaining('dirty-bitmap'),
    })
  })
})
