import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openTarget } from '../../ts/index.js'
import { formatTargetUri, parseTargetUri } from '../../ts/targets/uri.js'

describe('target URIs', () => {
  it.each(['guest:', 'qmp:', 'pid:', 'libvirt:x,', 'kernel:x,,,', ''])(
    'that are too long are refused, and shown by their ends: %j',
    async start => {
      await expect(openTarget(`${start}${'a:'.repeat(50_000)}`)).rejects.toMatchObject({
        code: 'ERR_ARGUMENT',
        message: expect.stringMatching(/^target: '.{100,110}' has 1000\d\d characters$/),
        hint: expect.not.stringContaining('Did you mean'),
      })
    },
  )

  it.each(['guest:', 'pid:', 'guest:stride,', 'guest:stride,a=1,a', 'nothing:', ''])(
    'that are long are shown by their ends in errors: %j',
    async start => {
      const error = await openTarget(`${start}${'a'.repeat(5000)}`).catch(error => error)
      expect(error.code).toBe('ERR_ARGUMENT')
      expect(error.message.length).toBeLessThan(300)
      expect(error.hint).not.toContain('aaaaa')
    },
  )

  it('have a scheme, a name and options', () => {
    expect(parseTargetUri('guest:stride,pages=25600,rate=100MiB/s,memory=1GiB,vcpus=2')).toEqual({
      scheme: 'guest',
      name: 'stride',
      options: new Map([
        ['pages', '25600'],
        ['rate', '100MiB/s'],
        ['memory', '1GiB'],
        ['vcpus', '2'],
      ]),
    })
  })

  it('take ,, for a comma, and = only as the first one', () => {
    expect(parseTargetUri('kernel:/a,,b=c,cmdline=x=1,,y')).toEqual({
      scheme: 'kernel',
      name: '/a,b=c',
      options: new Map([['cmdline', 'x=1,y']]),
    })
  })

  it('are read as they were written', () => {
    const key = fc.string({ minLength: 1 }).filter(text => !/^,|=/.test(text))
    const uri = fc.record({
      scheme: fc.stringMatching(/^[a-z]+$/),
      name: fc.string({ minLength: 1 }),
      options: fc
        .uniqueArray(fc.tuple(key, fc.string()), { selector: ([name]) => name })
        .map(pairs => new Map(pairs)),
    })
    fc.assert(
      fc.property(uri, parts => {
        expect(parseTargetUri(formatTargetUri(parts))).toEqual(parts)
      }),
    )
  })

  it.each([
    [5, 'target: 5 is not a string'],
    [':stride', "target: ':stride' has no scheme"],
    ['guest:', "target: 'guest:' names nothing after 'guest:'"],
    ['guest:a,=1', "target: '=1' is not KEY=VALUE"],
  ])('are refused as %s', (uri, message) => {
    expect(() => parseTargetUri(uri as never)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', message }),
    )
  })

  it('fail with ERR_ARGUMENT and nothing else', () => {
    fc.assert(
      fc.property(fc.string(), text => {
        try {
          parseTargetUri(text)
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_ARGUMENT' })
        }
      }),
    )
  })
})

describe('openTarget refuses, and lists what exists', () => {
  it.each([
    ['', 'has no scheme', 'guest:stride'],
    ['guest', 'has no scheme', 'guest:stride'],
    ['guest:', 'names nothing', 'guest:stride'],
    ['qemu:', "the scheme 'qemu' is not known", 'guest, kernel'],
    ['qemu:stride', "the scheme 'qemu' is not known", 'guest, kernel'],
    ['constructor:x', "the scheme 'constructor' is not known", 'guest, kernel'],
    ['guest:strid', "the workload 'strid' is not known", 'stride, random, hot-cold, silent, idle'],
    [
      'guest:stride,page=1',
      "'page' is not an option of guest:",
      "Did you mean 'pages'? Known: pages, rate",
    ],
    [
      'guest:stride,sed=1',
      "'sed' is not an option of guest:",
      'Known: pages, rate, pacing, granted, sharing, placement, memory',
    ],
    ['guest:idle,page=1', "'page' is not an option of guest:", 'Known: memory, vcpus'],
    ['kernel:f,pages=1', "'pages' is not an option of kernel:", 'memory, vcpus'],
    ['guest:stride,pages', "'pages' is not KEY=VALUE", ',,'],
    ['guest:stride,pages=1,pages=2', "'pages' is there twice", 'once'],
    ['guest:stride,pages=1.5', "pages: '1.5' is not a whole number", 'digits'],
    ['guest:stride,pages=-1', "pages: '-1' is not a whole number", 'digits'],
    ['guest:stride,memory=1', "memory: '1' has no unit", 'Did you mean 1GiB?'],
    ['guest:stride,rate=100', "rate: '100' has no unit", 'Did you mean 100MiB/s?'],
    ['guest:stride,pacing=clock', 'pacing: there is no rate to keep', 'Give rate too'],
    ['guest:stride,rate=1MB/s,pacing=tsc', "pacing: 'tsc' is not known", 'host, clock'],
    ['guest:stride,rate=1bit/s,pacing=clock', 'a rate below 1B/s', 'higher'],
    ['guest:stride,sharing=all', "sharing: 'all' is not known", 'split, shared'],
  ])('%s', async (uri, message, hint) => {
    await expect(openTarget(uri)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining(message),
      hint: expect.stringContaining(hint),
    })
  })
})
