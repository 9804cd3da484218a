/** What the command shows on terminals of any width and kind. */

import { expect, it } from 'vitest'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { exactModesHere, modesHere } from '../fixtures/modes.js'
import { dirtyrateOnTerminal, onTerminal, shown } from '../fixtures/terminal.js'

const guest = `guest:stride,pages=1000,memory=${MEMORY}`
const demo = `demo --pages 1000 --memory ${MEMORY} --window 20ms`

/** A command that can be copied stays on one line, however long it is. */
const isCommand = (row: string): boolean => /^(Go on:)? +dirtyrate /.test(row)
/** A row that has to be wider than the terminal: it is one word. */
const isWord = (row: string): boolean => !row.trim().includes(' ')

function expectFits(output: string, columns: number): string[] {
  const { rows, overwritten } = shown(output)
  for (const row of rows)
    if (row.length > columns && !isCommand(row) && !isWord(row)) expect(row).toHaveLength(columns)
  for (const row of overwritten) expect(row.length, row).toBeLessThan(columns)
  expect(output).not.toMatch(/.\t/)
  return rows
}

describeKvm('a terminal', () => {
  it('of 80 columns has the columns of the demo that matter most', async () => {
    const { status, stdout } = await dirtyrateOnTerminal(demo, { columns: 80 })
    expect(status).toBe(0)
    const rows = expectFits(stdout, 80)
    expect(rows).toContainEqual(
      expect.stringMatching(/^ +mode +window +pages +rate +truth +error$/),
    )
    for (const mode of modesHere)
      expect(rows.filter(row => row.trim().startsWith(mode))).toHaveLength(1)
    expect(rows).toContain(
      'A terminal of 126 columns has room for more: interval, duplicates, cost.',
    )
    const wide = await dirtyrateOnTerminal(demo, { columns: 140 })
    expect(shown(wide.stdout).rows).toContainEqual(
      expect.stringMatching(
        /^ +mode +window +pages +rate +interval +truth +error +duplicates +cost$/,
      ),
    )
    expect(wide.stdout).not.toContain('has room for more')
  })

  it.each([40, 20, 10])('of %d columns has a row for each figure', async columns => {
    const { status, stdout } = await dirtyrateOnTerminal(demo, { columns })
    expect(status).toBe(0)
    const rows = expectFits(stdout, columns)
    expect(rows.filter(row => row.startsWith('duplicates'))).not.toHaveLength(0)
    for (const mode of exactModesHere) expect(rows.some(row => row.endsWith(mode))).toBe(true)
    const curve = await dirtyrateOnTerminal(`curve ${guest} --windows 10ms,20ms`, { columns })
    expect(curve.status).toBe(0)
    expectFits(curve.stdout, columns)
    const calc = await dirtyrateOnTerminal(`calc ${guest} --window 20ms`, { columns })
    expect(calc.status).toBe(0)
    expectFits(calc.stdout, columns)
    const capabilities = await dirtyrateOnTerminal('capabilities', { columns })
    expectFits(capabilities.stdout, columns)
  })

  it.each([80, 40, 20, 13])(
    'of %d columns has whole figures only while it watches',
    async columns => {
      const { status, stdout } = await dirtyrateOnTerminal(
        `watch ${guest} --every 20ms --count 3 --quiet`,
        {
          columns,
        },
      )
      expect(status).toBe(0)
      const { rows, overwritten } = shown(stdout)
      expect([rows.length, rows.at(-1), overwritten.length]).toEqual([2, '', 2])
      const form = {
        80: /^\d\d:\d\d:\d\d\.\d{3} +[\d.]+ MiB\/s +[\d,]+ pages {2}in [\d.]+ ms( {2}WINDOW_MISMATCH)?$/,
        40: /^\d\d:\d\d:\d\d\.\d{3} +[\d.]+ MiB\/s +[\d,]+ pages$/,
        20: /^[\d.]+ MiB\/s( {2}[\d,]+ pages)?$/,
        13: /^[\d.]+ MiB\/s$/,
      }[columns]
      for (const row of [...overwritten, rows[0] ?? '']) {
        expect(row).toMatch(form ?? /never/)
        expect(row.length).toBeLessThan(columns)
      }
    },
  )

  it('that is too narrow for one figure has each below the other', async () => {
    const { stdout } = await dirtyrateOnTerminal(`watch ${guest} --every 20ms --count 3 --quiet`, {
      columns: 8,
    })
    expect(shown(stdout).rows.filter(row => /^[\d.]+ MiB\/s$/.test(row))).toHaveLength(3)
  })

  it('that becomes narrower keeps whole figures', async () => {
    const { status, stdout } = await onTerminal(
      `tty=$(tty); node dist/cli.js watch ${guest} --every 20ms --count 40 --quiet --log-level debug 2> >(
         while read -r line; do
           [[ $line == *'measurement done id=5 '* ]] && stty cols 30 <"$tty"
           [[ $line == *'measurement done id=20 '* ]] && stty cols 70 <"$tty"
         done)`,
      { columns: 70 },
    )
    expect(status).toBe(0)
    const { rows, overwritten } = shown(stdout)
    const states = [...overwritten, ...rows.filter(row => row !== '')]
    for (const state of states)
      expect(state).toMatch(
        /^(\d\d:\d\d:\d\d\.\d{3} +)?[\d.]+ MiB\/s( +[\d,]+ pages)?( {2}in [\d.]+ ms)?( {2}WINDOW_MISMATCH)?$/,
      )
    expect(states.some(state => state.length < 30)).toBe(true)
    // The line that had been wrapped was left, and the next one begun below.
    expect(rows.filter(row => row !== '')).toHaveLength(2)
    expect(states.at(-1)?.length).toBeGreaterThan(30)
  })

  it('has progress, cut between words, and nothing of it stays', async () => {
    const { stdout } = await dirtyrateOnTerminal(`calc ${guest} --window 20ms`, { columns: 24 })
    const { rows, overwritten } = shown(stdout)
    expect(overwritten).toEqual(['opening ...', 'measuring for 20ms'])
    expect(rows.join('\n')).not.toMatch(/opening|measuring/)
    const quiet = await dirtyrateOnTerminal(`calc ${guest} --window 20ms --quiet`, { columns: 24 })
    expect(quiet.stdout).not.toMatch(/opening|measuring/)
  })

  it('has whole lines of the log beside the line that is written over', async () => {
    const { status, stdout } = await dirtyrateOnTerminal(
      `watch ${guest} --every 20ms --count 3 --log-level debug`,
      { columns: 80 },
    )
    expect(status).toBe(0)
    const { rows } = shown(stdout)
    const kept = rows.filter(row => row !== '')
    expect(kept.filter(row => /^(debug|info) dirtyrate[\w:]*: /.test(row)).length).toBeGreaterThan(
      5,
    )
    expect(kept.filter(row => !/^(debug|info|trace|warn) dirtyrate[\w:]*: /.test(row))).toEqual([
      expect.stringMatching(/^\d\d:\d\d:\d\d\.\d{3} .* MiB\/s /),
    ])
    for (const row of kept.slice(0, -1)) expect(row).not.toContain('MiB/s')
  })

  it('of standard error alone has progress, but not over what a reader of standard output shows', async () => {
    const filed = await onTerminal(`node dist/cli.js calc ${guest} --window 20ms >/dev/null`, {
      columns: 80,
    })
    expect(shown(filed.stdout).overwritten).toContain('measuring for 20ms')
    const piped = await onTerminal(`node dist/cli.js calc ${guest} --window 20ms | cat`, {
      columns: 80,
    })
    expect(piped.stdout).not.toContain('\x1b')
  })

  it.each([[{ TERM: 'dumb' }], [{ TERM: undefined }], [{ TERM: '' }]])(
    'without a cursor (%j) has plain lines',
    async env => {
      const watch = await dirtyrateOnTerminal(`watch ${guest} --every 20ms --count 2`, {
        columns: 80,
        env,
      })
      expect(watch.stdout).toMatch(/^([\d:.]+ +[\d.]+ MiB\/s.*\r\n){2}$/)
      const table = await dirtyrateOnTerminal(demo, { columns: 80, env })
      expect(table.stdout).not.toContain('\x1b')
    },
  )

  it('of a CI keeps every line', async () => {
    const { stdout } = await dirtyrateOnTerminal(`watch ${guest} --every 20ms --count 2`, {
      columns: 80,
      env: { CI: 'true' },
    })
    expect(stdout).toMatch(/^([\d:.]+ +[\d.]+ MiB\/s.*\r\n){2}$/)
  })

  it('has colour as NO_COLOR and FORCE_COLOR say', async () => {
    const verdict = async (line: string, env: NodeJS.ProcessEnv): Promise<boolean> =>
      (
        await onTerminal(`node dist/cli.js ${demo} --quiet ${line}`, { columns: 130, env })
      ).stdout.includes('\x1b[32m')
    expect(await verdict('', {})).toBe(true)
    expect(await verdict('', { NO_COLOR: '1' })).toBe(false)
    expect(await verdict('', { FORCE_COLOR: '0' })).toBe(false)
    expect(await verdict('| cat', {})).toBe(false)
    expect(await verdict('| cat', { FORCE_COLOR: '1' })).toBe(true)
  })

  it('has bars of # where the locale has no others', async () => {
    const curve = `curve ${guest} --windows 100ms,500ms`
    const ascii = await dirtyrateOnTerminal(curve, { columns: 80, env: { LC_ALL: 'C' } })
    expect(
      shown(ascii.stdout).rows.filter(row => /ms {2}#+ [\d.]+ [KM]iB$/.test(row)),
    ).toHaveLength(2)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: everything that is ASCII
    expect(ascii.stdout).toMatch(/^[\x00-\x7f]*$/)
    const blocks = await dirtyrateOnTerminal(curve, {
      columns: 80,
      env: { LC_ALL: '', LANG: 'en_US.UTF-8' },
    })
    expect(blocks.stdout).toContain('█')
  })

  it('that another job has is not written over', async () => {
    // An interactive shell gives the terminal to the job in front.
    const { stdout } = await onTerminal(
      `bash --norc -ic 'set -m; node dist/cli.js watch ${guest} --every 20ms --count 2 & wait'`,
      { columns: 80 },
    )
    expect(stdout).toMatch(/MiB\/s.*\r\n(.*\r\n)*.*MiB\/s/)
    expect(stdout).not.toContain('\r\x1b[K')
  })

  it('has no green for an estimate that misses everything', async () => {
    // Page sampling sees nothing of writes that change nothing.
    const { stdout } = await dirtyrateOnTerminal(
      `${demo} --window 500ms --workload silent --quiet`,
      {
        columns: 130,
      },
    )
    const row =
      stdout.split('\n').find(line => line.includes('page-sampling') && line.includes('%')) ?? ''
    expect(row).toContain('\x1b[33m-100.0 %\x1b[39m')
  })

  it('shows names with control characters harmlessly', async () => {
    const { status, stdout } = await dirtyrateOnTerminal("calc kernel:$'/nowhere/a\\nb\\033[31m'", {
      columns: 80,
    })
    expect(status).toBe(2)
    expect(stdout).toContain('/nowhere/a\\nb\\x1b[31m: the kernel cannot be read')
    expect(stdout).not.toContain('\x1b[31m')
  })
})
