/** The dirty pages by cell of another process, by samples and by soft-dirty bits. */

import { describe, expect, it, onTestFinished } from 'vitest'
import { type DirtyRateMeasurement, openTarget } from '../../../ts/index.js'
import { PAGE } from '../../fixtures/machine.js'
import { hasSoftDirty, inTime, Writer } from '../../fixtures/writer.js'

const MIB = 2 ** 20
const BYTES = 16 * MIB + 3 * PAGE
/** No power of two, and no divisor of the memory. */
const CELL_PAGES = 300
const CELL_BYTES = CELL_PAGES * PAGE

/** The pages of each cell, counted one by one. */
function counted(written: readonly number[]): number[] {
  const cells = Array.from({ length: Math.ceil(BYTES / CELL_BYTES) }, () => 0)
  for (const page of new Set(written)) {
    const cell = Math.floor(page / CELL_PAGES)
    cells[cell] = (cells[cell] ?? 0) + 1
  }
  return cells
}

describe('cells of a process', () => {
  it.skipIf(!hasSoftDirty())('are exact by soft-dirty bits', { timeout: 600_000 }, async () => {
    const writer = await Writer.start(BYTES)
    const target = await openTarget(`pid:${writer.pid},range=${writer.range}`)
    onTestFinished(() => target.close())
    const written: number[] = []
    const measured = await inTime<DirtyRateMeasurement>(async windowMs => {
      written.length = 0
      const { result, openings } = await writer.during(
        () => target.measureDirtyRate({ mode: 'soft-dirty', window: windowMs, cells: CELL_BYTES }),
        async () => {
          written.push(...(await writer.write(299, 1, 302)), ...(await writer.write(900, 3, 400)))
        },
      )
      const isInTime = openings.every(({ notBefore, done }) => done <= notBefore + windowMs)
      return isInTime ? result : undefined
    })
    expect(measured.cells).toEqual({
      cellBytes: CELL_BYTES,
      // Nobody knows where the guest would see this memory.
      blocks: [{ block: measured.blocks?.[0]?.name, bytes: BYTES, pages: counted(written) }],
    })
  })

  it('are estimated from their samples', async () => {
    const writer = await Writer.start(BYTES)
    const target = await openTarget(`pid:${writer.pid},range=${writer.range}`)
    onTestFinished(() => target.close())
    expect(target).toHaveProperty('suitableCellBytes', 2 * MIB)
    const measured = await inTime<DirtyRateMeasurement>(async windowMs => {
      const ended = performance.now() + windowMs
      const measured = target.measureDirtyRate({
        mode: 'page-sampling',
        window: windowMs,
        cells: CELL_BYTES,
        samplePages: 16_384,
      })
      await new Promise(resolve => setTimeout(resolve, windowMs / 4))
      await writer.write(CELL_PAGES, 1, 2 * CELL_PAGES)
      const isInTime = performance.now() < ended
      const result = await measured
      return isInTime ? result : undefined
    })
    if (measured.mode !== 'page-sampling') throw new Error('another mode')
    const { cells, sampling } = measured
    const [block] = cells?.blocks ?? []
    expect(block).not.toHaveProperty('guestAddress')
    const samples = block?.samples ?? []
    expect(samples.reduce((sum, count) => sum + count, 0)).toBe(sampling?.samples)
    // All pages of two cells, and none of the others, so that an estimate is exact.
    const expected = samples.map((count, cell) =>
      (cell === 1 || cell === 2) && count > 0 ? CELL_PAGES : 0,
    )
    expect(expected.filter(pages => pages > 0)).toHaveLength(2)
    expect(block?.pages).toEqual(expected)
  })
})
