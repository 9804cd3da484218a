// What the heat map and the curve of the page compute, without a browser.

import { describe, expect, test } from 'vitest'
import { crossingOf, dotsOf, rangesOf } from '../../page/charts/curve-points.js'
import { addressTicks, seams } from '../../page/heat/axis.js'
import { drawHeatMap } from '../../page/heat/draw.js'
import { hottestCells } from '../../page/heat/hottest.js'
import { paletteOf } from '../../page/heat/palette.js'
import { cellsOfRow, RowCache, type RowsView } from '../../page/heat/rows.js'
import { CLEAN, levelOf, scaleFor, TOP, ticksOf } from '../../page/heat/scale.js'
import { type CellColumn, layoutOf } from '../../page/state/cells.js'
import { packCells } from '../../ts/dashboard/packed-cells.js'
import type { DirtyCells } from '../../ts/results/cells.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'

const MIB = 2 ** 20
const GIB = 2 ** 30

describe('the scale', () => {
  test('has a level of its own for one page and for thousands, and for none', () => {
    const scale = scaleFor(1, 5000)
    expect(scale).toEqual({ low: 1, high: 10_000 })
    expect(levelOf(0, scale)).toBe(CLEAN)
    expect(levelOf(1, scale)).toBe(1)
    expect(levelOf(10_000, scale)).toBe(TOP)
    expect(levelOf(100, scale)).toBe(128)
    expect(ticksOf(scale).map(({ rate }) => rate)).toEqual([1, 10, 100, 1000, 10_000])
  })

  test('one page in a window that is a little longer than a second begins it at 1', () => {
    expect(scaleFor(1 / 1.05, 50)).toEqual({ low: 1, high: 100 })
  })

  test.each(['light', 'dark'] as const)('the %s colours get steadily darker or lighter', theme => {
    // Neighbours may be rounded to the same colour. Eight levels further it is another one.
    const luminances = [...paletteOf(theme).levels].slice(1).map(luminance)
    const sign = theme === 'dark' ? 1 : -1
    luminances.slice(8).forEach((value, at) => {
      expect(sign * (value - (luminances[at] ?? 0))).toBeGreaterThan(0)
    })
    // The faintest cell stands out from a clean one.
    const [clean = 0, faintest = 0] = [...paletteOf(theme).levels].map(luminance)
    const [low, high] = [clean, faintest].sort((a, b) => a - b) as [number, number]
    expect((high + 0.05) / (low + 0.05)).toBeGreaterThan(1.2)
  })
})

/** By WCAG. */
function luminance(packed: number): number {
  const part = (shift: number): number => {
    const value = ((packed >> shift) & 0xff) / 255
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
  }
  return 0.2126 * part(0) + 0.7152 * part(8) + 0.0722 * part(16)
}

function columnOf(
  pages: readonly number[],
  at: number,
  more: Partial<CellColumn> = {},
): CellColumn {
  const half = pages.length / 2
  const cells: DirtyCells = {
    cellBytes: 2 * MIB,
    blocks: [
      { block: 'low', guestAddress: 0, bytes: half * 2 * MIB, pages: pages.slice(0, half) },
      { block: 'high', guestAddress: 4 * GIB, bytes: half * 2 * MIB, pages: pages.slice(half) },
    ],
  }
  const packed = packCells(cells)
  const layout = layoutOf(packed, undefined)
  return { at, from: at - 1000, seconds: 1, complete: true, layout, packed, ...more }
}

function draw(columns: readonly CellColumn[], view: Omit<RowsView, 'layout'>, width: number) {
  const [{ layout } = { layout: undefined }] = columns
  if (layout === undefined) throw new Error('there is no column')
  const same = columns.map(column => ({ ...column, layout }))
  const data = new Uint8ClampedArray(4 * width * view.rows)
  const image = { width, height: view.rows, data }
  const palette = paletteOf('dark')
  const time = { from: 0, to: width * 100 }
  const { scale } = drawHeatMap(image, same, time, { ...view, layout }, new RowCache(), palette)
  const pixels = new Uint32Array(data.buffer)
  const at = (x: number, y: number): number => pixels[y * width + x] ?? 0
  return { at, scale, palette }
}

describe('the pixels of the heat map', () => {
  test('each cell has the colour of its rate, from the top down and from left to right', () => {
    const pages = [0, 1, 10, 100, 0, 512]
    const view = { firstCell: 0, cells: 6, rows: 60 }
    const { at, scale, palette } = draw(
      [columnOf(pages, 1000), columnOf([...pages].reverse(), 2000)],
      view,
      20,
    )
    expect(scale).toEqual({ low: 1, high: 1000 })
    for (let cell = 0; cell < 6; cell++) {
      for (const [x, count] of [
        [3, pages[cell]],
        [13, pages[5 - cell]],
      ] as const)
        for (const y of [cell * 10, cell * 10 + 9])
          expect(at(x, y)).toBe(palette.levels[levelOf(count ?? 0, scale)])
    }
  })

  test('a row that stands for several cells has the colour of the hottest', () => {
    const pages = Array.from({ length: 1000 }, (_, cell) => (cell === 772 ? 400 : 1))
    const { at, scale, palette } = draw(
      [columnOf(pages, 1000)],
      { firstCell: 0, cells: 1000, rows: 90 },
      10,
    )
    const hot = palette.levels[levelOf(400, scale)]
    const rows = Array.from({ length: 90 }, (_, y) => y).filter(y => at(5, y) === hot)
    expect(rows.length).toBeGreaterThanOrEqual(1)
    for (const row of rows) {
      const { from, to } = cellsOfRow({ firstCell: 0, cells: 1000, rows: 90 }, row)
      expect(from).toBeLessThanOrEqual(772)
      expect(to).toBeGreaterThan(772)
    }
  })

  test('no cell is left out by the rows', () => {
    for (const [cells, rows] of [
      [1000, 90],
      [7, 7],
      [16_384, 413],
    ] as const) {
      let next = 0
      for (let row = 0; row < rows; row++) {
        const { from, to } = cellsOfRow({ firstCell: 0, cells, rows }, row)
        expect(from).toBeLessThanOrEqual(next)
        next = Math.max(next, to)
      }
      expect(next).toBe(cells)
    }
  })

  test('a time without a window is hatched, and an incomplete window is marked', () => {
    const { at, palette } = draw(
      [columnOf([1, 1], 1000), columnOf([1, 1], 3000, { complete: false })],
      { firstCell: 0, cells: 2, rows: 40 },
      40,
    )
    const between = Array.from({ length: 40 }, (_, y) => at(15, y))
    expect(new Set(between)).toEqual(new Set([palette.nothing, palette.hatch]))
    expect(at(25, 0)).toBe(palette.incomplete)
    expect(at(25, 20)).not.toBe(palette.incomplete)
    expect(at(5, 0)).not.toBe(palette.incomplete)
  })
})

describe('the address axis', () => {
  const { layout } = columnOf(new Array(2048).fill(1), 0)

  test('names round addresses, and leaves out what has no memory', () => {
    const view = { layout, firstCell: 0, cells: layout.cells, rows: 400 }
    const labels = addressTicks(view).map(({ label }) => label)
    expect(labels).toEqual([
      '0',
      '512 MiB',
      '1 GiB',
      '1.5 GiB',
      '4 GiB',
      '4.5 GiB',
      '5 GiB',
      '5.5 GiB',
    ])
    expect(seams(view)).toEqual([
      { place: 0.5, hole: 2 * GIB, label: '2 GiB without memory are left out before high' },
    ])
  })

  test('a part of the memory has its own ticks, each at its address', () => {
    const view = { layout, firstCell: 1024, cells: 16, rows: 400 }
    for (const { place, label } of addressTicks(view)) {
      const bytes = label.startsWith('0x') ? Number(label) : Number(label.split(' ')[0]) * GIB
      expect(bytes).toBe(4 * GIB + place * 32 * MIB)
    }
  })
})

describe('the hottest cells', () => {
  test('are those with the highest mean, and their parts are of all pages', () => {
    const hottest = hottestCells(
      [columnOf([0, 5, 0, 15], 1000), { ...columnOf([0, 5, 10, 5], 2000) }].map((one, _, all) => ({
        ...one,
        layout: all[0]?.layout ?? one.layout,
      })),
      2,
    )
    expect(hottest.map(({ cell, pagesPerSecond, share }) => [cell, pagesPerSecond, share])).toEqual(
      [
        [3, 10, 0.5],
        [1, 5, 0.25],
      ],
    )
    expect(hottest[0]?.address).toBe(`0x${(4 * GIB + 2 * MIB).toString(16)}`)
  })
})

test('the mean of a cell is over the windows that have sampled it', () => {
  const sampled = (pages: readonly number[], samples: readonly number[]): CellColumn => {
    const block = { block: 'ram', guestAddress: 0, bytes: 6 * MIB, pages, samples }
    const packed = packCells({ cellBytes: 2 * MIB, blocks: [block] } as DirtyCells)
    const layout = layoutOf(packed, undefined)
    return { at: 1000, from: 0, seconds: 1, complete: true, layout, packed }
  }
  const columns = [sampled([12, 0, 8], [1, 0, 1]), sampled([0, 4, 8], [0, 1, 1])]
  const [{ layout } = { layout: undefined }] = columns
  if (layout === undefined) throw new Error('there is no layout')
  const hottest = hottestCells(
    columns.map(column => ({ ...column, layout })),
    3,
  )
  expect(hottest.map(({ cell, pagesPerSecond, share }) => [cell, pagesPerSecond, share])).toEqual([
    [0, 12, 12 / 24],
    [2, 8, 8 / 24],
    [1, 4, 4 / 24],
  ])
})

describe('the line of the link', () => {
  const curve = (bytes: readonly number[]): DirtyRateCurve =>
    ({
      points: bytes.map((dirtyBytes, at) => {
        const seconds = 10 ** (at - 1)
        const bytesPerSecond = dirtyBytes / seconds
        const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
        const windowNs = seconds * 1e9
        return { windowNs, requestedMs: seconds * 1e3, dirtyBytes, bytesPerSecond, interval }
      }),
    }) as unknown as DirtyRateCurve

  test('crosses where both have the same bytes', () => {
    // U(t) = 100 sqrt(t) and 50 t meet at 4 s.
    const dots = dotsOf(curve([100 * Math.sqrt(0.1), 100, 100 * Math.sqrt(10)]))
    const { ahead, seconds } = crossingOf(dots, 50)
    expect(ahead).toBe('changes')
    expect(seconds).toBeCloseTo(4, 9)
  })

  test('is drawn, whatever the guest writes', () => {
    for (const bytes of [[0, 0, 0], [0, 0, 5], [1, 2, 3], [0]])
      for (const bytesPerSecond of [1, 1e9]) {
        const dots = dotsOf(curve(bytes))
        const { times, bytes: amounts } = rangesOf(dots, bytesPerSecond)
        for (const { low, high } of [times, amounts]) {
          expect(low).toBeGreaterThan(0)
          expect(high).toBeGreaterThan(low)
          expect(high).toBeLessThan(Number.POSITIVE_INFINITY)
        }
        for (const { seconds, bytes } of dots) {
          expect(seconds > times.low && seconds < times.high).toBe(true)
          expect(bytes < amounts.high).toBe(true)
        }
        expect(bytesPerSecond * times.high).toBeGreaterThan(amounts.low)
      }
  })

  test('does not cross if one of the two is ahead in each window', () => {
    const dots = dotsOf(curve([10, 100, 1000]))
    expect(crossingOf(dots, 200)).toEqual({ ahead: 'link' })
    expect(crossingOf(dots, 50)).toEqual({ ahead: 'guest' })
  })
})
