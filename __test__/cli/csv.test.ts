import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import {
  csvLine,
  curveColumns,
  curveLines,
  REGION_COLUMNS,
  ROUND_COLUMNS,
  WATCH_COLUMNS,
} from '../../ts/cli/csv.js'
import type { DirtyRateCurve } from '../../ts/index.js'
import { dirtyrate, root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'

const guest = `guest:stride,pages=1000,memory=${MEMORY}`

/** A reader of RFC 4180 that is not ours: Python's, in its strict form. */
async function records(text: string): Promise<Record<string, string>[]> {
  const program =
    'import csv,json,sys; print(json.dumps(list(csv.DictReader(sys.argv[1].splitlines(True),strict=True))))'
  const { stdout } = await run('python3', ['-c', program, text])
  return JSON.parse(stdout)
}

describeInstalled('python3', 'a line', () => {
  it('a value with a comma, a quotation mark or the end of a line is quoted', async () => {
    const values = ['a', 'b,c', 'd"e', 'f\r\ng', '', 'h i']
    expect(csvLine(values)).toBe('a,"b,c","d""e","f\r\ng",,h i\r\n')
    const [record] = await records(`1,2,3,4,5,6\r\n${csvLine(values)}`)
    expect(Object.values(record ?? {})).toEqual(values)
    expect(csvLine([null, undefined, 1e-7, false])).toBe(',,1e-7,false\r\n')
  })
})

it('docs/output.md has every column', () => {
  const text = readFileSync(`${root}/docs/output.md`, 'utf8')
  const [, ...tables] = (text.split('## JSON')[0] ?? '').split('| column |')
  const rows = tables.map(table => [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name))
  expect(Object.keys(WATCH_COLUMNS)).toEqual(Object.keys(curveColumns({} as DirtyRateCurve)))
  expect(rows).toEqual([WATCH_COLUMNS, REGION_COLUMNS, ROUND_COLUMNS].map(Object.keys))
})

describeInstalled('python3', 'read by Python', () => {
  describeKvm('--csv', () => {
    it.each([
      ['watch', ['--every', '20ms', '--count', '3'], 3],
      ['curve', ['--windows', '50ms,500ms'], 2],
    ])(
      'of %s is one line of names, then a line for each window',
      async (command, options, windows) => {
        const { status, stdout, stderr } = await dirtyrate([command, guest, ...options, '--csv'])
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
        // Every line ends with CR and LF, and none with LF alone.
        expect(stdout.match(/\r\n/g)).toHaveLength(windows + 1)
        expect(stdout.match(/\n/g)).toHaveLength(windows + 1)
        const rows = await records(stdout)
        expect(rows).toHaveLength(windows)
        for (const row of rows) {
          expect(row).toMatchObject({
            mode: 'dirty-bitmap',
            complete: 'true',
            confidence: '1',
            low: row.bytesPerSecond,
          })
          expect(Number(row.pages)).toBeGreaterThanOrEqual(Number(row.truthLow))
          expect(Number(row.pages)).toBeLessThanOrEqual(Number(row.truthHigh))
          // One block: its rate, over its window, is its bytes.
          const bytes = (Number(row.bytesPerSecond) * Number(row.windowNs)) / 1e9
          expect(bytes / Number(row.pageSize)).toBeCloseTo(Number(row.pages), 6)
        }
      },
    )
  })
})

describeInstalled('python3', '--rows, read by Python', () => {
  /** The windows of this guest differ, because it does not write all its pages in the first one. */
  const paced = 'guest:random,pages=50000,rate=100MiB/s,memory=2GiB,placement=even'
  /** The lines of one run, and its document. */
  async function both(
    rows: string,
    options: readonly string[],
  ): Promise<{ lines: Record<string, string>[]; curve: DirtyRateCurve }> {
    const file = folder()('curve.json', '')
    const args = ['curve', paced, '--windows', '50ms,500ms', ...options, '--save', file]
    const { status, stdout, stderr } = await dirtyrate([...args, '--csv', '--rows', rows])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return { lines: await records(stdout), curve: JSON.parse(readFileSync(file, 'utf8')) }
  }
  /** A value as CSV has it. */
  const text = (value: unknown): string => String(value ?? '')

  describeKvm('of regions', () => {
    it.each([
      ['dirty-bitmap', 'true'],
      ['page-sampling', 'false'],
    ])('are one for each region and window: %s', async (mode, isExact) => {
      const { lines, curve } = await both('regions', ['--mode', mode])
      const { points, regions = [], pageSize, startedAt } = curve
      expect(regions).toHaveLength(2)
      expect(lines).toHaveLength(2 * points.length)
      for (const [at, line] of lines.entries()) {
        const region = regions[Math.floor(at / points.length)]
        const column = at % points.length
        expect(line).toEqual({
          startedAt,
          mode,
          block: region?.block,
          offset: text(region?.offset),
          guestAddress: text(region?.guestAddress),
          bytes: text(region?.bytes),
          requestedMs: text(points[column]?.requestedMs),
          windowNs: text(points[column]?.windowNs),
          pageSize: text(pageSize),
          pages: text(region?.pages[column]),
          low: text(region?.low?.[column]),
          high: text(region?.high?.[column]),
          complete: 'true',
          warnings: curve.warnings.map(({ code }) => code).join(' '),
        })
        expect(line.low === '').toBe(isExact === 'true')
      }
      // The oracle of an exact mode: the pages of all regions are those of the window.
      if (isExact === 'true')
        for (const { requestedMs, pages } of points) {
          const ofWindow = lines.filter(line => line.requestedMs === text(requestedMs))
          expect(ofWindow.reduce((sum, line) => sum + Number(line.pages), 0)).toBe(pages)
        }
    })
  })

  describeKvm('of rounds', () => {
    it('are one for each round and window', async () => {
      const { lines, curve } = await both('rounds', ['--repeat', '3'])
      const { points, repeated, pageSize, mode } = curve
      expect(lines).toHaveLength(3 * points.length)
      for (const [at, line] of lines.entries()) {
        const number = Math.floor(at / points.length)
        const round = repeated?.rounds[number]
        const column = at % points.length
        expect(line).toEqual({
          startedAt: round?.startedAt,
          mode,
          round: text(number),
          requestedMs: text(points[column]?.requestedMs),
          pageSize: text(pageSize),
          pages: text(round?.pages?.[column]),
          bytesPerSecond: text(round?.bytesPerSecond[column]),
          complete: 'true',
          warnings: curve.warnings.map(({ code }) => code).join(' '),
        })
      }
      // The oracle: the mean of a window's lines is its point. A busy host may not have measured a
      // short window in each round.
      for (const { requestedMs, pages } of points) {
        const known = lines.filter(of => of.requestedMs === text(requestedMs) && of.pages !== '')
        const sum = known.reduce((sum, line) => sum + Number(line.pages), 0)
        expect(sum / known.length).toBeCloseTo(pages ?? Number.NaN, 6)
      }
    })
  })
})

it('a window that a round did not measure is empty in its line', () => {
  const point = { requestedMs: 10, windowNs: 1e7 }
  const rounds = [{ startedAt: 'then', bytesPerSecond: [null], pages: [null] }]
  const curve = { mode: 'dirty-bitmap', points: [point], repeated: { rounds }, warnings: [] }
  const [, line] = curveLines(curve as never, 'rounds')
  expect(line).toBe('then,dirty-bitmap,0,10,,,,,\r\n')
})

describeKvm('--csv', () => {
  it.each([
    [['curve', guest, '--csv', '--json'], '--csv: it cannot be combined with --json'],
    [['watch', guest, '--csv', '--json'], '--csv: it cannot be combined with --json'],
    [['watch', guest, '--csv', '--hmp'], '--csv: it cannot be combined with --hmp'],
    [['curve', guest, '--rows', 'windows'], '--rows: it is for --csv only'],
    [['curve', guest, '--rows', 'region', '--csv'], "--rows: 'region' is not"],
    [['curve', guest, '--rows', 'rounds', '--csv'], '--rows: a single curve has no rounds'],
    [['watch', guest, '--csv', '--unit', 'MB/s'], '--unit: the output of --csv has its own units'],
  ])('refuses %j', async (args, message) => {
    const { status, stdout, stderr } = await dirtyrate(args)
    expect(status).toBe(2)
    expect(`${stdout}${stderr}`).toContain(message)
  })

  it('reports a failure on standard error', async () => {
    const { status, stdout, stderr } = await dirtyrate(['curve', 'guest:nonsense', '--csv'])
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain("workload 'nonsense'")
  })
})
