/**
 * The regions of a process, whose guest writes an equal part of its pages at the end of each GiB.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { openTarget } from '../../../ts/index.js'
import { root } from '../../fixtures/command.js'
import { describeKvm } from '../../fixtures/kvm.js'

const PAGES = 6000
/** The pages that the guest writes beside them: its mailbox and its stack. */
const OTHERS = 8

describeKvm('the regions of a process', () => {
  it('have their pages within their intervals', { timeout: 120_000 }, async () => {
    const program = `const { openTarget } = await import('dirtyrate'); await openTarget('guest:stride,pages=${PAGES},placement=even,memory=2GiB'); console.log('ready'); setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    await once(createInterface({ input: child.stdout }), 'line')
    const target = await openTarget(`pid:${child.pid}`)
    onTestFinished(() => target.close())
    const options = { samplePages: 16_384, confidence: 1 - 1e-6 }
    // Until the guest has written its whole working set in a window. This set is one run of pages
    // in each GiB, so that stratified samples are nearly exact.
    for (let pages = 0; pages < PAGES * 0.97; )
      pages = (await target.measureDirtyRate({ ...options, window: '1s' })).pages ?? 0
    const windows = ['50ms', '2s'] as const
    const { regions = [], points, memory } = await target.measureDirtyCurve({ ...options, windows })
    expect(regions.map(({ offset, bytes }) => [offset, bytes])).toEqual([
      [0, 2 ** 30],
      [2 ** 30, 2 ** 30],
    ])
    expect(memory?.bytes).toBe(2 ** 31)
    const { guestMemory } = await target.describe()
    const isPlaced = guestMemory?.ranges[0]?.guestAddress !== undefined
    expect(regions.map(region => 'guestAddress' in region)).toEqual([isPlaced, isPlaced])
    for (const { pages, low = [], high = [] } of regions) {
      expect(pages).toHaveLength(points.length)
      expect(low.at(-1)).toBeLessThanOrEqual(PAGES / 2 + OTHERS)
      expect(high.at(-1)).toBeGreaterThanOrEqual(PAGES / 2)
      expect(pages.at(-1)).toBeGreaterThanOrEqual(low.at(-1) ?? Number.NaN)
      expect(low.at(-1)).toBeGreaterThan(PAGES / 4)
    }
  })
})
