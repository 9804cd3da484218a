import { describe, expect, it } from 'vitest'
import { parseLinks } from '../../ts/metrics/links.js'

describe('the links', () => {
  it('are every pair, in the words of the command line', () => {
    const links = parseLinks({
      bandwidth: '1Gbit/s, 10Gbit/s,1Gbit/s',
      downtime: '300ms,unlimited',
    })
    expect(
      links.map(({ bandwidth, downtime, wanted }) => [
        bandwidth,
        downtime,
        wanted.bytesPerSecond,
        wanted.downtime,
      ]),
    ).toEqual([
      ['1Gbit/s', '300ms', 125e6, 0.3],
      ['1Gbit/s', 'unlimited', 125e6, Number.POSITIVE_INFINITY],
      ['10Gbit/s', '300ms', 1250e6, 0.3],
      ['10Gbit/s', 'unlimited', 1250e6, Number.POSITIVE_INFINITY],
    ])
    expect(parseLinks({})).toEqual([])
  })

  it.each([
    [{ bandwidth: '1Gbit/s' }, '--bandwidth: used only with --downtime'],
    [{ downtime: '300ms' }, '--downtime: used only with --bandwidth'],
    [{ profile: 'qemu' }, '--profile: used only with --bandwidth'],
    [{ bandwidth: '1Gbit/s,', downtime: '300ms' }, '--bandwidth: '],
    [{ bandwidth: '1Gbit/s', downtime: '300' }, '--downtime: '],
    [{ bandwidth: '1Gbit/s', downtime: '1s', profile: 'xen' }, '--profile: '],
    [
      {
        bandwidth: Array.from({ length: 11 }, (_, at) => `${at + 1}Gbit/s`).join(),
        downtime: '1ms,2ms,3ms',
      },
      '--bandwidth: 33 pairs of a bandwidth and a downtime are too many',
    ],
  ])('are not %j', (options, message) => {
    expect(() => parseLinks(options)).toThrow(
      expect.objectContaining({
        code: 'ERR_ARGUMENT',
        message: expect.stringContaining(message),
      }),
    )
  })
})
