/**
 * The figures of soft-dirty bits, and the mode on this kernel: measured where the kernel has the
 * bits, and refused elsewhere. The rigs test the bits themselves, against known writes.
 */

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { NativeSoftDirtyReport } from '../../../ts/ground/native.js'
import { native } from '../../../ts/ground/native.js'
import { openTarget } from '../../../ts/index.js'
import { dirtyRateInfo } from '../../../ts/qapi/info.js'
import { softDirtyRounds } from '../../../ts/targets/process/soft-dirty.js'
import { dirtyrate } from '../../fixtures/command.js'
import { PAGE } from '../../fixtures/machine.js'

const RATE = 40 * 2 ** 20

const WHOLE: NativeSoftDirtyReport = {
  requestedMs: 500,
  lateNs: 7,
  windowNs: 500_000_000,
  skewNs: 2,
  lookNs: 3,
  clearNs: 4,
  pages: 5120,
  bytesPerSecond: RATE,
  leastBytesPerSecond: RATE,
  blocks: [
    {
      name: 'ram',
      guestAddress: 0,
      bytes: 2 ** 30,
      pages: 5120,
      huge: false,
      windowNs: 499_000_000,
      regions: null,
    },
  ],
  granularities: [],
  vanished: false,
  shared: false,
  mergeable: false,
  inUse: false,
}
const GRANULES = { granuleBytes: 2 ** 21, dirty: 12, extents: 3 }

/** A block of 1.5 GiB, with these pages in its two regions. */
function softBlocks(regions: number[]): NativeSoftDirtyReport['blocks'] {
  return WHOLE.blocks.map(of => ({
    ...of,
    guestAddress: 2 ** 32,
    bytes: 1.5 * 2 ** 30,
    regions,
  }))
}

function figuresOf(report: Partial<NativeSoftDirtyReport>) {
  const [round] = softDirtyRounds([{ ...WHOLE, ...report }], 4096)
  if (round === undefined) throw new Error('one report makes one round')
  return { ...round.figures, lateNs: round.lateNs, explainedNs: round.explainedNs }
}

describe('a window over soft-dirty bits', () => {
  it('is exact', () => {
    const figures = figuresOf({})
    expect(figures).toMatchObject({
      mode: 'soft-dirty',
      window: { requestedMs: 500, ns: 500_000_000, skewNs: 2 },
      interval: { low: RATE, high: RATE, confidence: 1 },
      pages: 5120,
      cost: { startNs: 4, clearNs: 4, syncNs: 3, longestLockNs: 4 },
      complete: true,
      warnings: [],
      lateNs: 7,
      explainedNs: 2,
    })
    // QEMU has no such mode: its clients see the one that is most like it.
    const startedAt = new Date(0).toISOString()
    expect(dirtyRateInfo({ ...figures, startedAt })).toMatchObject({
      mode: 'dirty-bitmap',
      'dirty-rate': 40,
      'sample-pages': 0,
    })
  })

  it('has bounds if some of the memory is in huge pages', () => {
    const [block] = figuresOf({}).blocks
    const blocks = [{ guestAddress: 0, ...block, huge: true }] as NativeSoftDirtyReport['blocks']
    const { interval, complete, warnings } = figuresOf({ leastBytesPerSecond: RATE / 512, blocks })
    expect(interval).toEqual({ low: RATE / 512, high: RATE, confidence: 1 })
    expect(complete).toBe(true)
    expect(warnings).toMatchObject([
      { code: 'HUGE_PAGES', message: expect.stringContaining("'ram'") },
    ])
  })

  it.each([
    ['vanished', 'BITS_VANISHED'],
    ['shared', 'WRITES_UNSEEN'],
    ['mergeable', 'WRITES_UNSEEN'],
  ])('is a lower bound if it is %s', (finding, code) => {
    const { interval, complete, warnings } = figuresOf({ [finding]: true })
    expect({ interval, complete }).toEqual({
      interval: { low: RATE, high: null, confidence: 1 },
      complete: false,
    })
    expect(warnings).toMatchObject([{ code }])
  })

  it('has its pages by region and in granules, if it is one of a curve', () => {
    const report = { ...WHOLE, blocks: softBlocks([1000, 4120]), granularities: [GRANULES] }
    const [round] = softDirtyRounds([report], PAGE, { granularities: [2 ** 21] })
    expect(
      round?.regions?.map(({ region, pages }) => [region.offset, region.bytes, pages]),
    ).toEqual([
      [0, 2 ** 30, 1000],
      [2 ** 30, 2 ** 29, 4120],
    ])
    expect(round?.regions?.map(({ region }) => region.guestAddress)).toEqual([2 ** 32, 5 * 2 ** 30])
    expect(round?.granularities).toEqual([GRANULES])
    expect(round?.memory).toEqual({ bytes: 1.5 * 2 ** 30 })
    expect(softDirtyRounds([report], PAGE)[0]).not.toHaveProperty('regions')
  })

  it('is exact, but not alone, if the bits had been cleared before', () => {
    const { complete, warnings } = figuresOf({ inUse: true })
    expect(complete).toBe(true)
    expect(warnings).toMatchObject([{ code: 'BITS_IN_USE' }])
  })
})

it('the mode is never chosen by auto, and is refused where the kernel has no such bits', async () => {
  const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
  onTestFinished(() => void child.kill())
  const maps = (): string => readFileSync(`/proc/${child.pid}/maps`, 'utf8')
  await expect.poll(maps).toContain('[heap]')
  await expect.poll(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8')).toBe('sleep\n')
  const heap = /^([0-9a-f]+-[0-9a-f]+) .*\[heap\]$/m.exec(maps())?.[1]
  const target = await openTarget(`pid:${child.pid},range=${heap}`)
  onTestFinished(() => target.close())
  expect(target.modes).toEqual(['page-sampling', 'soft-dirty'])
  expect((await target.measureDirtyRate({ window: '5ms' })).mode).toBe('page-sampling')
  const { modes } = await target.describe()
  const [, ability] = modes
  await expect(
    target.measureDirtyCurve({ mode: 'soft-dirty', windows: [5], granularities: ['64KiB'] }),
  ).rejects.toMatchObject({
    code: 'ERR_ARGUMENT',
    message: expect.stringContaining('guest addresses of this memory are not known'),
  })
  const { status, stderr } = await dirtyrate([
    ...['calc', target.uri, '--mode', 'soft-dirty', '--window', '20ms'],
  ])
  if (native().kernelMayHaveSoftDirty()) {
    expect(ability).not.toHaveProperty('refused')
    const measured = await target.measureDirtyRate({ mode: 'soft-dirty', window: '20ms' })
    expect(measured).toMatchObject({ pages: 0, pageSize: PAGE, complete: true })
    expect(status).toBe(0)
    return
  }
  expect(ability?.refused).toContain('CONFIG_MEM_SOFT_DIRTY')
  await expect(target.measureDirtyRate({ mode: 'soft-dirty' })).rejects.toMatchObject({
    code: 'ERR_UNSUPPORTED',
    message: expect.stringContaining('CONFIG_MEM_SOFT_DIRTY'),
    hint: expect.stringContaining('page-sampling'),
  })
  expect(status).toBe(3)
  expect(stderr).toContain('this kernel has no soft-dirty bits')
})
