/**
 * The dirty pages by cell, of our own VMs. The guest is idle, and this process writes pages that
 * the test knows, in two blocks with a hole between them, whose sizes are no multiples of a cell.
 */

import { expect, it } from 'vitest'
import type { DirtyCells, DirtyRateMeasurement, VirtualMachine } from '../../ts/index.js'
import { workload } from '../../ts/index.js'
import { suitableCellBytes } from '../../ts/measurement/cells.js'
import { Meter } from '../../ts/measurement/meter.js'
import { QemuSource } from '../../ts/targets/qemu/source.js'
import { describeKvm } from '../fixtures/kvm.js'
import { created, PAGE, running, sleep } from '../fixtures/machine.js'
import { exactModesHere, logFor } from '../fixtures/modes.js'

const MIB = 2 ** 20
const GIB = 2 ** 30
/** So much that RAM goes on behind the hole, with an end that is no multiple of a cell. */
const MEMORY_BYTES = 5 * GIB + 1000 * PAGE
/** A divisor of a chunk of the log, a multiple of one, and sizes across the borders of chunks. */
const SIZES = [2 * MIB, 2 * GIB, 3 * MIB, 700 * PAGE]
/** What an idle guest writes itself at most: its stack, its mailbox, its page tables. */
const OWN_PAGES = 8

/** Writes one byte of each page, numbered from the start of `block`. */
async function write(vm: VirtualMachine, name: string, pages: readonly number[]): Promise<void> {
  const { guestAddress } = vm.blocks.find(block => block.name === name) ?? { guestAddress: 0 }
  for (const page of pages) {
    const byte = new Uint8Array(1)
    await vm.readMemory(guestAddress + page * PAGE + 17, byte)
    await vm.writeMemory(
      guestAddress + page * PAGE + 17,
      byte.map(value => value + 1),
    )
  }
}

/** The pages of each block that the test writes: at borders of chunks, cells, words and blocks. */
function pagesToWrite(vm: VirtualMachine): number[][] {
  const chunk = GIB / PAGE
  const [low = 0, high = 0] = vm.blocks.map(({ bytes }) => bytes / PAGE)
  const run = Array.from({ length: 900 }, (_, page) => chunk - 300 + page)
  return [
    [5000, 5001, ...run, low - 1],
    [0, 1, 2, 63, 64, 511, 512, 2 * chunk + 5, high - 1],
  ]
}

/** The cells that these pages are in, counted one by one. */
function counted(vm: VirtualMachine, cellBytes: number, written: readonly number[][]): DirtyCells {
  const blocks = vm.blocks.map(({ name, guestAddress, bytes }, at) => {
    const pages = Array.from({ length: Math.ceil(bytes / cellBytes) }, () => 0)
    for (const page of written[at] ?? []) {
      const cell = Math.floor((page * PAGE) / cellBytes)
      pages[cell] = (pages[cell] ?? 0) + 1
    }
    return { block: name, guestAddress, bytes, pages }
  })
  return { cellBytes, blocks }
}

const sumOf = ({ blocks }: DirtyCells): number =>
  blocks.flatMap(({ pages }) => pages).reduce((sum, pages) => sum + pages, 0)

/** Checks the cells, but for a few pages that the guest itself writes in the first 16 MiB. */
function expectCells(
  vm: VirtualMachine,
  { cells, pages }: Pick<DirtyRateMeasurement, 'cells' | 'pages'>,
  cellBytes: number,
  written: readonly number[][],
): void {
  if (cells === undefined) throw new Error('no cells')
  const expected = counted(vm, cellBytes, written)
  expect(sumOf(cells)).toBe(pages)
  const own = Math.ceil((16 * MIB) / cellBytes)
  const later = ({ blocks: [first, ...rest], ...of }: DirtyCells): unknown => ({
    ...of,
    blocks: [{ ...first, pages: first?.pages.slice(own) }, ...rest],
  })
  expect(later(cells)).toEqual(later(expected))
  const extra = sumOf(cells) - sumOf(expected)
  expect(extra).toBeGreaterThanOrEqual(0)
  expect(extra).toBeLessThanOrEqual(OWN_PAGES)
}

for (const mode of exactModesHere) {
  describeKvm(`cells, ${mode}`, () => {
    it.each(SIZES)('of %d bytes have the pages that were written in them', async cellBytes => {
      const vm = await running(workload.idle(), { memory: MEMORY_BYTES, ...logFor(mode) })
      expect(vm.blocks).toHaveLength(2)
      const written = pagesToWrite(vm)
      const measured = vm.measureDirtyRate({ window: '1s', cells: cellBytes })
      while (vm.dirtyMemory.loggingBlocks().length < vm.blocks.length) await sleep(1)
      // A page that is written twice counts once; the first time may be before the window opens.
      for (let time = 0; time < 2; time++) {
        await sleep(100)
        for (const [at, { name }] of vm.blocks.entries()) await write(vm, name, written[at] ?? [])
      }
      expectCells(vm, await measured, cellBytes, written)
    })

    it('are those of each window of a watch', async () => {
      const vm = await running(workload.idle(), { memory: MEMORY_BYTES, ...logFor(mode) })
      const written = pagesToWrite(vm)
      const watch = vm.watchDirtyRate({ every: '200ms', cells: '3MiB' })
      const sums: DirtyCells[] = []
      let pages = 0
      await watch.next()
      for (const [at, { name }] of vm.blocks.entries()) await write(vm, name, written[at] ?? [])
      for (let window = 0; window < 3; window++) {
        const { value } = await watch.next()
        if (value?.cells === undefined) throw new Error('no cells')
        expect(sumOf(value.cells)).toBe(value.pages)
        sums.push(value.cells)
        pages += value.pages ?? 0
      }
      await watch.return()
      // Each page is written once, so the windows together have it once.
      const blocks = (sums[0]?.blocks ?? []).map((block, at) => ({
        ...block,
        pages: block.pages.map((_, cell) =>
          sums.reduce((sum, of) => sum + (of.blocks[at]?.pages[cell] ?? 0), 0),
        ),
      }))
      // In each of the windows the guest itself writes the same few pages.
      expectCells(vm, { cells: { cellBytes: 3 * MIB, blocks }, pages }, 3 * MIB, written)
    })
  })
}

describeKvm('cells', () => {
  it('show where a workload writes', async () => {
    const vm = await running(workload.stride({ pages: 20_000 }), { memory: 3 * GIB })
    const { cells, pages = 0 } = await vm.measureDirtyRate({ window: '500ms', cells: '2MiB' })
    const counts = cells?.blocks.flatMap(block => block.pages) ?? []
    expect(counts).toHaveLength((3 * GIB) / (2 * MIB))
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(pages)
    // The guest goes through 20,000 pages in a row again and again: 38 or 39 whole cells, and a
    // part of a cell at each end. Beside them are its few own pages.
    const first = counts.indexOf(512)
    const whole = counts.lastIndexOf(512) + 1 - first
    expect([38, 39]).toContain(whole)
    expect(counts.slice(first, first + whole)).toEqual(Array.from({ length: whole }, () => 512))
    const ends = (counts[first - 1] ?? 0) + (counts[first + whole] ?? 0)
    expect(ends + whole * 512 - 20_000).toBeGreaterThanOrEqual(0)
    expect(pages - 20_000).toBeLessThanOrEqual(OWN_PAGES)
    expect(counts.slice(first + whole + 1).every(count => count === 0)).toBe(true)
  })

  it('are estimated from their own samples', async () => {
    const vm = await running(workload.idle(), { memory: MEMORY_BYTES })
    const [low] = vm.blocks
    // Every page of 48 MiB, and one sample or more in each 2 MiB.
    const dirty = { first: GIB / PAGE, pages: (48 * MIB) / PAGE }
    const measured = vm.measureDirtyRate({
      mode: 'page-sampling',
      window: '2s',
      cells: '2MiB',
      samplePages: 16_384,
      sampling: { seed: 5 },
    })
    await sleep(1000)
    const bytes = new Uint8Array(48 * MIB).fill(1)
    await vm.writeMemory((low?.guestAddress ?? 0) + dirty.first * PAGE, bytes)
    const { cells, pages, sampling, blocks } = await measured
    if (cells === undefined) throw new Error('no cells')
    const all = cells.blocks.flatMap(({ pages, samples = [] }) =>
      pages.map((count, at) => ({ count, samples: samples[at] ?? 0 })),
    )
    expect(all.reduce((sum, { samples }) => sum + samples, 0)).toBe(sampling?.samples)
    const first = (dirty.first * PAGE) / (2 * MIB)
    for (const [cell, { count }] of all.entries()) {
      if (cell < 8) continue
      const isDirty = cell >= first && cell < first + 24
      expect(count, `cell ${cell}`).toBe(isDirty ? (2 * MIB) / PAGE : 0)
    }
    // Strata of 16 pages, so that each cell has 32 samples in proportion to its pages, and the sum
    // is off by less than one stratum at each end of what was written, and by rounding.
    expect(Math.abs(sumOf(cells) - (pages ?? 0))).toBeLessThanOrEqual(2 * 16 + all.length / 512)
    expect(cells.blocks.map(({ bytes }) => bytes)).toEqual(blocks?.map(({ bytes }) => bytes))
  })

  it('are refused if there are too many, or if they are no whole pages', async () => {
    const vm = await created({ memory: GIB })
    await vm.load(workload.idle())
    await vm.start()
    const refused = (cells: string | number) => vm.measureDirtyRate({ cells, window: '1ms' })
    // 65,536 cells are possible, and not one more.
    const { cells } = await refused(4 * PAGE)
    expect(cells?.blocks[0]?.pages).toHaveLength(GIB / (4 * PAGE))
    await expect(refused(3 * PAGE)).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: `cells: with ${(3 * PAGE) / 1024}KiB the memory has ${Math.ceil(GIB / (3 * PAGE))} cells, and at most 65536 are possible`,
      hint: `Give ${(6 * PAGE) / 1024}KiB.`,
    })
    for (const size of [0, 100, PAGE + 1])
      await expect(refused(size)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' })
    await expect(refused('2')).rejects.toMatchObject({
      hint: expect.stringContaining('Did you mean'),
    })
    expect(() => vm.watchDirtyRate({ cells: PAGE })).toThrow(/^cells: with 4KiB/)
  })

  it('are refused where nobody says where the dirty pages are', async () => {
    const jobs = {
      run: () => Promise.reject(new Error('QEMU was asked')),
      goesOnMs: 0,
    }
    const owner = { uri: () => 'qmp:/x', requireOpen: () => {}, historySize: 1 }
    const meter = new Meter(new QemuSource(jobs), owner)
    await expect(meter.measure({ cells: '2MiB' })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
      message: expect.stringContaining('not where they are'),
      hint: expect.stringContaining('outside=yes'),
    })
  })

  it('have a size that suits the memory', async () => {
    const vm = await created({ memory: GIB })
    expect(vm).toHaveProperty('suitableCellBytes', 2 * MIB)
    const TIB = 2 ** 40
    expect(suitableCellBytes([32 * GIB])).toBe(2 * MIB)
    expect(suitableCellBytes([32 * GIB + PAGE])).toBe(4 * MIB)
    // One cell of each block is smaller than the others.
    expect(suitableCellBytes([3 * GIB, TIB - 3 * GIB])).toBe(64 * MIB)
    expect(suitableCellBytes([3 * GIB + PAGE, TIB - 3 * GIB - PAGE])).toBe(128 * MIB)
    // A block is at least one cell, also if there are very many.
    expect(suitableCellBytes(Array.from({ length: 20_000 }, () => 3 * MIB))).toBe(4 * MIB)
  })
})
