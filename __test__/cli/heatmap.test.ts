/** The heat map: what its picture says of cells that the test knows, and how it uses a terminal. */

import { expect, it } from 'vitest'
import { columnsOf, pagesOf } from '../../ts/cli/heatmap/columns.js'
import { axes, hottest, LABEL_COLUMNS, legend, row } from '../../ts/cli/heatmap/picture.js'
import { placeOn, rateAt, scaleOf, swatch } from '../../ts/cli/heatmap/scale.js'
import type { ColorDepth } from '../../ts/cli/terminal.js'
import type { DirtyCells } from '../../ts/results/cells.js'
import { dirtyrate, run } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { onTerminal } from '../fixtures/terminal.js'

const MIB = 2 ** 20
const GIB = 2 ** 30
const CELL = 2 * MIB
const CELL_PAGES = 512

/** Two blocks with a hole between them; the pages of some cells, by their number in the block. */
function memory(low: Record<number, number>, high: Record<number, number>): DirtyCells {
  const block = (
    name: string,
    guestAddress: number,
    cells: number,
    of: Record<number, number>,
  ) => ({
    block: name,
    guestAddress,
    bytes: cells * CELL,
    pages: Array.from({ length: cells }, (_, cell) => of[cell] ?? 0),
  })
  return { cellBytes: CELL, blocks: [block('high', 4 * GIB, 33, high), block('low', 0, 64, low)] }
}

const step = (cells: DirtyCells) => ({ time: '12:34:56', seconds: 1, cells, pageSize: 4096 })
const DEPTHS: ColorDepth[] = ['truecolor', '256', 'ascii']

it('has a column for the same number of cells of each block, by address, and a hole', () => {
  const cells = memory({ 0: 7, 1: 1, 63: 512 }, { 0: 5, 32: 3 })
  const columns = columnsOf(cells, 60)
  // 97 cells in 59 columns: two cells in each, in 32 and 17 columns. The last column has one cell.
  expect(columns).toMatchObject({ columnBytes: 2 * CELL, hidden: 0 })
  expect(columns.all).toHaveLength(32 + 1 + 17)
  expect(columns.all[32]).toBeUndefined()
  expect(columns.all.at(-1)).toMatchObject({ block: 'high', offset: 32 * CELL, bytes: CELL })
  const expected: (number | undefined)[] = Array.from({ length: 50 }, () => 0)
  expected[32] = undefined
  expected[0] = 8
  expected[31] = 512
  expected[33] = 5
  expected[49] = 3
  expect(pagesOf(columns, cells)).toEqual(expected)
  // At the narrowest, each block has a column of its own, and then the smaller ones have none.
  expect(columnsOf(cells, 3).all.map(column => column?.block)).toEqual(['low', undefined, 'high'])
  expect(columnsOf(cells, 1)).toMatchObject({ hidden: 1, all: [{ block: 'low', cells: 64 }] })
})

it('takes cells that were not sampled for like those that were', () => {
  const [high, low] = memory({ 0: 512, 2: 256 }, {}).blocks
  const samples = [1, 0, 2, 1, 0, 0]
  const cells = { cellBytes: CELL, blocks: [{ ...low, samples }] } as unknown as DirtyCells
  const six = { ...low, bytes: 6 * CELL, pages: [512, 0, 256, 0, 0, 0], samples }
  const columns = columnsOf({ cellBytes: CELL, blocks: [six] } as DirtyCells, 3)
  expect(pagesOf(columns, { ...cells, blocks: [six] } as DirtyCells)).toEqual([
    1024,
    256,
    undefined,
  ])
  expect(
    row(columns, scaleOf(1024, 1), step({ cellBytes: CELL, blocks: [six] } as DirtyCells), 'ascii'),
  ).toMatch(/^12:34:56 @.\?$/)
  // A block that is not there in a window is not known in it.
  expect(pagesOf(columns, { cellBytes: CELL, blocks: [high] } as DirtyCells)).toEqual([
    undefined,
    undefined,
    undefined,
  ])
})

it.each(DEPTHS)('shows one page and all pages of a column at once, in %s', depth => {
  const scale = scaleOf(CELL_PAGES, 0.5)
  expect(scale).toEqual({ low: 2, high: 1024 })
  expect([0, 1, 2, 1024, 5000].map(rate => placeOn(scale, rate))).toEqual([undefined, 0, 0, 1, 1])
  // Each doubling is one step, and a ninth of the scale.
  for (let step = 0; step <= 9; step++) {
    expect(placeOn(scale, 2 * 2 ** step)).toBeCloseTo(step / 9, 12)
    expect(rateAt(scale, step / 9)).toBeCloseTo(2 * 2 ** step, 6)
  }
  const swatches = [0, 0.2, 0.4, 0.6, 0.8, 1].map(place => swatch(place, depth))
  expect(new Set(swatches).size).toBe(6)
  expect(swatches).not.toContain(' ')
  for (const one of swatches) expect(legend(scale, depth, 100)).toContain(one)
  // Whatever the width, the legend fits, and names its unit.
  for (const width of [100, 80, 60, 40, 33]) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the escapes of colours
    const text = legend(scale, depth, width).replace(/\x1b\[[0-9;]*m/g, '')
    expect(text).toContain('pages/s')
    expect(text.length).toBeLessThanOrEqual(width)
  }
})

it('gets lighter from faint to hot, so that the order is seen without colours', () => {
  const light = (place: number): number => {
    const [, red = 0, green = 0, blue = 0] =
      /2;(\d+);(\d+);(\d+)m/.exec(swatch(place, 'truecolor'))?.map(Number) ?? []
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
  }
  const values = Array.from({ length: 101 }, (_, at) => light(at / 100))
  expect(values).toEqual([...values].sort((a, b) => a - b))
  expect((values.at(-1) ?? 0) - (values[0] ?? 0)).toBeGreaterThan(150)
})

it('names both axes, the addresses behind a hole, and the hottest regions', () => {
  const cells = memory({ 0: 512, 1: 512, 2: 512, 3: 512 }, { 4: 1 })
  const columns = columnsOf(cells, 100)
  const [first = '', second = ''] = axes(columns)
  expect(first).toBe('time     guest address, 2 MiB in a column; | is a hole')
  expect(second.indexOf("'0B")).toBe(LABEL_COLUMNS)
  expect(second.indexOf("'4GiB")).toBe(LABEL_COLUMNS + 64 + 1)
  const lines = hottest(columns, scaleOf(CELL_PAGES, 1), [step(cells), step(memory({}, {}))])
  expect(lines.map(line => line.trim().split(/ {2,}/))).toEqual([
    ['hottest, from', 'to', 'size', 'pages/s', 'of all'],
    ['0B', '8MiB', '8 MiB', '1,024', '100 %'],
    ['4104MiB', '4106MiB', '2 MiB', '0.5', '0 %'],
  ])
  expect(hottest(columns, scaleOf(CELL_PAGES, 1), [step(memory({}, {}))])).toEqual([
    'Nothing was dirty.',
  ])
})

it('has the mean of a region over the windows that have sampled it', () => {
  const sampled = (pages: number[], samples: number[]): DirtyCells => ({
    cellBytes: CELL,
    blocks: [{ block: 'ram', guestAddress: 0, bytes: 3 * CELL, pages, samples }],
  })
  const steps = [sampled([300, 0, 0], [1, 0, 1]), sampled([0, 100, 0], [0, 1, 1])].map(step)
  const columns = columnsOf(sampled([0, 0, 0], [1, 1, 1]), 100)
  const lines = hottest(columns, scaleOf(CELL_PAGES, 1), steps)
  expect(lines.slice(1).map(line => line.trim().split(/ {2,}/).slice(-2))).toEqual([
    ['300', '75 %'],
    ['100', '25 %'],
  ])
})

it('lets no name of a block write to the terminal', () => {
  const block = { block: '\x1b]0;x\x07\x1b[2J\nram', bytes: 2 * CELL, pages: [5, 0] }
  const columns = columnsOf({ cellBytes: CELL, blocks: [block] }, 60)
  const texts = [
    ...axes(columns),
    ...hottest(columns, scaleOf(CELL_PAGES, 1), [step({ cellBytes: CELL, blocks: [block] })]),
  ]
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
  for (const text of texts) expect(text).not.toMatch(/[\x00-\x1f\x7f-\x9f]/)
  expect(texts.join(' ')).toContain('\\x1b[2J')
})

/** 20,000 pages in a row, through which the guest goes again and again: 78 MiB. */
const guest = 'guest:stride,pages=20000,memory=1GiB'
const HOT_PAGES = 20_000
/** The terminal adds a return to each end of a line. */
const END_OF_LINE = /\r+\n/

/** The rows of a map in a text: the columns of each. */
const rowsIn = (text: string): string[] =>
  [...text.matchAll(/^\d\d:\d\d:\d\d (.*)$/gm)].map(([, columns = '']) => columns)

/** Whether each column of 16 MiB has been written, in the guest's own address space. */
function expectHot(columns: readonly boolean[]): void {
  // The pages begin within the first columns, behind the guest's own, and are in a row.
  const whole = Math.floor((HOT_PAGES * 4096) / (16 * MIB))
  const first = columns.indexOf(true)
  const last = columns.lastIndexOf(true)
  expect(first).toBe(0)
  expect(columns.slice(0, last + 1).every(Boolean)).toBe(true)
  expect([whole + 1, whole + 2]).toContain(last + 1)
}

describeKvm('dirtyrate heatmap', () => {
  it('prints a row for each window where there is no terminal', async () => {
    const args = ['heatmap', guest, '--every', '500ms', '--count', '3', '--quiet']
    const { status, stdout, stderr } = await dirtyrate(args, { env: { COLUMNS: '73' } })
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toContain('guest address, 16 MiB in a column\n')
    const rows = rowsIn(stdout)
    expect(rows).toHaveLength(3)
    for (const columns of rows) {
      expect(columns).toHaveLength(64)
      expectHot([...columns].map(column => column !== ' '))
      // Columns that are dirty from end to end are at the hot end of the scale.
      expect(columns.slice(1, 4)).toMatch(/^[@%]{3}$/)
    }
    expect(stdout).toMatch(/hottest, from +to +size +pages\/s +of all\n +\S+ +\S+ +\d+ MiB/)
  })

  it('prints the measurements with their cells as JSON', async () => {
    const args = ['heatmap', guest, '--every', '200ms', '--count', '2', '--cell', '4MiB', '--json']
    const { status, stdout } = await dirtyrate(args)
    expect(status).toBe(0)
    const documents = stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(documents).toHaveLength(2)
    for (const { cells, pages } of documents) {
      expect(cells.cellBytes).toBe(4 * MIB)
      const counts: number[] = cells.blocks[0].pages
      expect(counts).toHaveLength(256)
      expect(counts.reduce((sum, one) => sum + one, 0)).toBe(pages)
    }
  })

  it.each([
    ['24-bit colours', { COLORTERM: 'truecolor', TERM: 'xterm-256color' }, /^48;2;\d+;\d+;\d+$/],
    ['256 colours', { TERM: 'xterm-256color' }, /^48;5;\d+$/],
    ['characters', { TERM: 'xterm-256color', NO_COLOR: '1' }, undefined],
  ])('fills a terminal of %s, and gives it back', async (_, env, style) => {
    const { status, stdout } = await onTerminal(
      `stty rows 20; node dist/cli.js heatmap ${guest} --every 500ms --count 3`,
      { columns: 73, env },
    )
    expect(status).toBe(0)
    const [before = '', ...screens] = stdout.split('\x1b[?2026h')
    expect(before).toContain('\x1b[?1049h\x1b[?25l')
    const [last = '', after = ''] = (screens.at(-1) ?? '').split('\x1b[?25h\x1b[?1049l')
    const lines = last.split(END_OF_LINE)
    expect(lines.length).toBeLessThanOrEqual(20)
    const rows = lines.filter(line => /^\d\d:\d\d:\d\d /.test(line))
    expect(rows).toHaveLength(3)
    for (const line of rows) {
      const pixels = pixelsOf(line.slice(LABEL_COLUMNS))
      expect(pixels).toHaveLength(64)
      const hot = pixels.map(pixel => pixel.style !== '' || pixel.text !== ' ')
      expectHot(hot)
      if (style === undefined) expect(line).not.toContain('\x1b[4')
      else
        for (const { style: found, text } of pixels.filter((_, at) => hot[at])) {
          expect(found).toMatch(style)
          expect(text).toBe(' ')
        }
    }
    // The last picture stays on the screen of before.
    expect(after.split(END_OF_LINE).filter(line => /^\d\d:\d\d:\d\d /.test(line))).toHaveLength(3)
    expect(after).toContain('hottest, from')
  })

  it('ends by q, and shows nothing of what is typed', async () => {
    const { status, stdout } = await run('bash', [
      '-c',
      `(sleep 3; printf 'xyq') | TERM=xterm CI= script -qec "stty cols 80 rows 20; node dist/cli.js heatmap ${guest} --every 100ms" /dev/null`,
    ])
    expect(status).toBe(0)
    expect(stdout).toContain('\x1b[?1049l')
    expect(stdout).not.toContain('xy')
    expect(stdout.split('\x1b[?1049l')[1]).toContain('hottest, from')
  })

  it('is drawn anew when the size changes, and gives the terminal back when it is ended', async () => {
    const { status, stdout } = await onTerminal(
      `tty=$(tty); stty rows 20; (sleep 2; stty cols 41 rows 12 <"$tty") & timeout --foreground --preserve-status -s TERM 4 node dist/cli.js heatmap ${guest} --every 100ms; echo "status $?"`,
      { columns: 73 },
    )
    expect(status).toBe(0)
    expect(stdout).toContain('status 143')
    const screens = stdout.split('\x1b[?2026h').slice(1)
    const isOf = (screen: string, columns: number, rows: number): boolean => {
      const lines = (screen.split('\x1b[J')[0] ?? '').split(END_OF_LINE)
      const map = lines.filter(line => /^\S*\d\d:\d\d:\d\d /.test(line))
      return (
        lines.length <= rows &&
        map.length > 0 &&
        map.every(line => pixelsOf(line.slice(LABEL_COLUMNS)).length === columns)
      )
    }
    expect(screens.some(screen => isOf(screen, 64, 20))).toBe(true)
    // 1 GiB in 32 columns of 32 MiB.
    expect(isOf(screens.at(-1) ?? '', 32, 12)).toBe(true)
    const [, after] = stdout.split('\x1b[?25h\x1b[?1049l')
    expect(after).toContain('dirtyrate: interrupted')
  })

  it('ends although its input is a pipe that stays open', async () => {
    const { stdout } = await onTerminal(
      `stty rows 20; timeout --foreground --preserve-status 15 node dist/cli.js heatmap ${guest} --every 100ms --count 2 < <(exec sleep 30 >/dev/null 2>&1); echo "status $?"`,
      { columns: 73 },
    )
    expect(stdout).toContain('\x1b[?1049l')
    expect(stdout).toContain('status 0')
  })

  it('is refused where nobody says where the dirty pages are', async () => {
    const { status, stderr } = await dirtyrate(['heatmap', 'guest:idle', '--color', 'some'])
    expect(status).toBe(2)
    expect(stderr).toContain('--color')
  })
})

/** The characters of a line, each with the style in which it is shown. */
function pixelsOf(line: string): { style: string; text: string }[] {
  const pixels: { style: string; text: string }[] = []
  let style = ''
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escapes of a terminal
  for (const [token] of line.replace(/\x1b\[[KJ]/g, '').matchAll(/\x1b\[[0-9;]*m|[^\x1b]/g)) {
    if (token.startsWith('\x1b')) style = token.slice(2, -1).replace(/^0$/, '')
    else pixels.push({ style, text: token })
  }
  return pixels
}
