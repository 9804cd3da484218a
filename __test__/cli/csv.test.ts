import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { csvLine, curveColumns, WATCH_COLUMNS } from '../../ts/cli/csv.js'
import type { DirtyRateCurve } from '../../ts/index.js'
import { dirtyrate, root, run } from '../fixtures/command.js'
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
  const rows = [...(text.split('## JSON')[0] ?? '').matchAll(/^\| `(\w+)` \|/gm)].map(
    ([, name]) => name,
  )
  expect(Object.keys(WATCH_COLUMNS)).toEqual(Object.keys(curveColumns({} as DirtyRateCurve)))
  expect(rows).toEqual(Object.keys(WATCH_COLUMNS))
})

describeInstalled('python3', 'read by Python', () => {
  describeKvm('--csv', () => {
    it.each([
      ['watch', ['--every', '20ms', '--count', '3'], 3],
      ['curve', ['--windows', '10ms,50ms'], 2],
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

describeKvm('--csv', () => {
  it.each([
    [['curve', guest, '--csv', '--json'], '--csv: it cannot be combined with --json'],
    [['watch', guest, '--csv', '--json'], '--csv: it cannot be combined with --json'],
    [['watch', guest, '--csv', '--hmp'], '--csv: it cannot be combined with --hmp'],
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
