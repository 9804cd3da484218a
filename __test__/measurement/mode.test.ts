import { describe, expect, it } from 'vitest'
import {
  chooseMode,
  costToGuest,
  exactMode,
  modes,
  modesOf,
  modeUnavailable,
  parseMode,
  RING_UNAVAILABLE,
  ringUnsupported,
} from '../../ts/measurement/mode.js'

const NO_RING = 'this kernel has no dirty ring'

describe('the modes', () => {
  it('are three, each with what it costs', () => {
    expect(modes).toEqual(['page-sampling', 'dirty-ring', 'dirty-bitmap'])
    expect(Object.keys(costToGuest).sort()).toEqual([...modes].sort())
    for (const cost of Object.values(costToGuest)) expect(cost).not.toBe('')
  })

  it('of a VM are the one of its log, and sampling', () => {
    expect(exactMode('ring')).toBe('dirty-ring')
    expect(exactMode('bitmap')).toBe('dirty-bitmap')
    expect(modesOf('ring')).toEqual(['dirty-ring', 'page-sampling'])
    expect(modesOf('bitmap')).toEqual(['dirty-bitmap', 'page-sampling'])
  })

  it.each([...modes, 'auto'])('%s can be named', mode => expect(parseMode(mode)).toBe(mode))

  it.each([undefined, 'bitmap', '', null])('%s is none', mode =>
    expect(() => parseMode(mode, '--mode')).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message: expect.stringContaining('--mode: ') }),
    ),
  )
})

describe('the choice', () => {
  it.each([
    ['auto', 'bitmap', 'dirty-bitmap'],
    ['auto', 'ring', 'dirty-ring'],
    ['page-sampling', 'ring', 'page-sampling'],
    ['dirty-ring', 'ring', 'dirty-ring'],
    ['dirty-bitmap', 'bitmap', 'dirty-bitmap'],
  ] as const)('of %s on a VM with a %s is %s', (wanted, log, mode) => {
    for (const kernelHasRing of [true, false]) expect(chooseMode(wanted, log, kernelHasRing)).toBe(mode)
  })

  it('refuses the mode of the other log, and says how to have it', () => {
    expect(() => chooseMode('dirty-ring', 'bitmap', true)).toThrow(
      expect.objectContaining({
        code: 'ERR_MODE_UNAVAILABLE',
        message:
          'mode dirty-ring is not available: this VM has a dirty bitmap, and so dirty-bitmap and page-sampling',
        hint: expect.stringContaining('ring-entries=65536'),
      }),
    )
    for (const kernelHasRing of [true, false])
      expect(() => chooseMode('dirty-bitmap', 'ring', kernelHasRing)).toThrow(
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
