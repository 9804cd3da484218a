import { describe, expect, it } from 'vitest'
import { DirtyRateError } from '../../ts/ground/errors.js'
import { chooseMethod, parseMode } from '../../ts/measurement/mode.js'
import { modes } from '../../ts/results/mode.js'

describe('the modes', () => {
  it('are four', () => {
    expect(modes).toEqual(['page-sampling', 'dirty-ring', 'dirty-bitmap', 'soft-dirty'])
  })

  it.each([...modes, 'auto'])('%s can be named', mode => expect(parseMode(mode)).toBe(mode))

  it.each([undefined, 'bitmap', '', null])('%s is none', mode =>
    expect(() => parseMode(mode, '--mode')).toThrow(
      expect.objectContaining({
        code: 'ERR_ARGUMENT',
        message: expect.stringContaining('--mode: '),
      }),
    ),
  )
})

describe('the method', () => {
  const refusal = new DirtyRateError('ERR_MODE_UNAVAILABLE', 'not here')
  const source = {
    modes: [
      { mode: 'page-sampling', exact: false, costToGuest: 'little' },
      { mode: 'dirty-bitmap', exact: true, costToGuest: 'faults' },
    ],
    modeUnavailable: () => refusal,
  } as const

  it('is the first mode that the target has, unless another is named', () => {
    expect(chooseMethod(source, {})).toMatchObject({ mode: 'page-sampling' })
    expect(chooseMethod(source, { mode: 'auto' })).toMatchObject({ mode: 'page-sampling' })
    expect(chooseMethod(source, { mode: 'dirty-bitmap' })).toEqual({ mode: 'dirty-bitmap' })
  })

  it('is refused in the words of the target', () => {
    expect(() => chooseMethod(source, { mode: 'dirty-ring' })).toThrow(refusal)
  })

  it('has the samples of page sampling, and no other mode takes them', () => {
    expect(chooseMethod(source, { samplePages: 128 })).toEqual({
      mode: 'page-sampling',
      samples: { samplesPerGiB: 128, confidence: 0.95, design: 'stratified', interval: 'wilson' },
    })
    expect(() => chooseMethod(source, { mode: 'dirty-bitmap', samplePages: 128 })).toThrow(
      expect.objectContaining({
        code: 'ERR_ARGUMENT',
        message: expect.stringContaining('dirty-bitmap'),
      }),
    )
  })
})
