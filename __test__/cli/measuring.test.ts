/** calc in its modes, curve and watch, as a person runs them. */

import { expect, it } from 'vitest'
import { traceNames } from '../../ts/index.js'
import { dirtyrate, run } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { describeMode } from '../fixtures/modes.js'

const guest = `guest:stride,pages=1000,memory=${MEMORY}`

interface Point {
  requestedMs: number
  pages: number
  truth: { low: number; high: number }
}

/** Runs a command line on a terminal of its own, and returns what the terminal showed. */
const terminal = (args: string, columns = 0): ReturnType<typeof run> =>
  run('script', ['-qec', `stty cols ${columns}; node dist/cli.js ${args}`, '/dev/null'], {
    env: { TERM: 'xterm', NO_COLOR: '1' },
  })

describeKvm('calc', () => {
  it("prints QEMU's text with --hmp", async () => {
    const { status, stdout, stderr } = await dirtyrate(['calc', guest, '--window', '50ms', '--hmp'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(
      /^Status: measured\nStart Time: \d+ \(ms\)\nPeriod: 0 \(sec\)\nMode: dirty-bitmap\nDirty rate: \d+ \(MB\/s\)\n$/,
    )
    const both = await dirtyrate(['calc', guest, '--hmp', '--json'])
    expect(both.status).toBe(2)
    expect(JSON.parse(both.stdout).error.code).toBe('ERR_ARGUMENT')
  })

  it("prints QEMU's trace events with --trace, and nothing else of the log", async () => {
    const { status, stdout, stderr } = await dirtyrate([
      'calc',
      guest,
      '--window',
      '50ms',
      '--trace',
      '--json',
    ])
    expect(status).toBe(0)
    const { pages, qapi } = JSON.parse(stdout)
    const lines = stderr.trimEnd().split('\n')
    expect(lines).toContain(`dirtyrate_bitmap_reap ramblock name: ram, has ${pages} dirty pages`)
    expect(lines.at(-1)).toBe(`dirtyrate_calculate dirty rate: ${qapi['dirty-rate']} MB/s`)
    for (const line of lines) expect(traceNames).toContain(line.split(' ', 1)[0])
    const logged = await dirtyrate([
      'calc',
      guest,
      '--window',
      '50ms',
      '--trace',
      '--log-level',
      'debug',
      '--quiet',
    ])
    expect(logged.stderr).toContain('debug dirtyrate::measurement: measurement done')
    expect(logged.stderr).toContain('\ndirtyrate_calculate ')
  })
})

describeKvm('curve', () => {
  it('is a table', async () => {
    const { status, stdout, stderr } = await dirtyrate([
      'curve',
      guest,
      '--windows',
      '900ms,100ms,300ms,100ms',
    ])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^dirty-bitmap {2}guest:stride/)
    expect(stdout).toMatch(/window +pages +dirty +rate +interval/)
    expect(stdout.match(/^ *[\d.]+ ms .* MiB\/s +exact$/gm)).toHaveLength(3)
    expect(stdout).not.toContain('█')
  })

  it('is one document', async () => {
    const { status, stdout, stderr } = await dirtyrate([
      'curve',
      guest,
      '--windows',
      '100ms,500ms',
      '--json',
    ])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const curve = JSON.parse(stdout)
    expect(curve).toMatchObject({
      schemaVersion: 1,
      target: `${guest},vcpus=1`,
      mode: 'dirty-bitmap',
      complete: true,
    })
    expect(curve.points.map(({ requestedMs }: Point) => requestedMs)).toEqual([100, 500])
    for (const { pages, truth } of curve.points as Point[]) {
      expect(pages).toBeGreaterThanOrEqual(truth.low)
      expect(pages).toBeLessThanOrEqual(truth.high)
    }
  })

  it('has a chart on a terminal', async () => {
    const { status, stdout } = await terminal(`curve ${guest} --windows 100ms,500ms`)
    expect(status).toBe(0)
    expect(stdout.match(/^ *[\d.]+ ms {2}[█▉▊▋▌▍▎▏]* \d+\.\d [KM]iB\r?$/gm)).toHaveLength(2)
  })
})

describeKvm('watch', () => {
  it('is a line for each window', async () => {
    const { status, stdout, stderr } = await dirtyrate([
      'watch',
      guest,
      '--every',
      '20ms',
      '--count',
      '3',
    ])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const lines = stdout.trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    for (const line of lines)
      expect(line).toMatch(
        /^\d\d:\d\d:\d\d\.\d{3} +[\d.]+ MiB\/s +[\d,]+ pages {2}in [\d.]+ ms( {2}WINDOW_MISMATCH)?$/,
      )
  })

  it('is a document a line', async () => {
    const { status, stdout, stderr } = await dirtyrate([
      'watch',
      guest,
      '--every',
      '20ms',
      '--count',
      '3',
      '--json',
    ])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const documents = stdout
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(documents).toHaveLength(3)
    const calc = JSON.parse((await dirtyrate(['calc', guest, '--window', '20ms', '--json'])).stdout)
    for (const document of documents) {
      // The same shape as calc's.
      expect(Object.keys(document)).toEqual(Object.keys(calc))
      expect(document.pages).toBeGreaterThanOrEqual(document.truth.low)
      expect(document.pages).toBeLessThanOrEqual(document.truth.high)
    }
  })

  it('is written in place on a terminal', async () => {
    const { status, stdout } = await terminal(`watch ${guest} --every 20ms --count 3 --quiet`)
    expect(status).toBe(0)
    const [before, ...lines] = stdout.split('\r\x1b[K')
    expect({ before, lines: lines.length }).toEqual({ before: '', lines: 3 })
    // Whole, on a terminal that does not know its size; and only the last one is ended.
    for (const line of lines)
      expect(line).toMatch(/ pages {2}in [\d.]+ ms( {2}WINDOW_MISMATCH)?(\r\n)?$/)
    expect(stdout.match(/\n/g)).toHaveLength(1)
  })

  it("is QEMU's text for each window with --hmp", async () => {
    const args = ['watch', guest, '--every', '20ms', '--count', '2', '--hmp']
    const { status, stdout } = await dirtyrate(args)
    expect(status).toBe(0)
    expect(stdout).toMatch(
      /^(Status: measured\nStart Time: \d+ \(ms\)\nPeriod: 0 \(sec\)\nMode: dirty-bitmap\nDirty rate: \d+ \(MB\/s\)\n){2}$/,
    )
    const both = await dirtyrate([...args, '--json'])
    expect(both.status).toBe(2)
    expect(JSON.parse(both.stdout).error.code).toBe('ERR_ARGUMENT')
  })

  it.each(['calc', 'curve', 'watch'])(
    'and %s on a terminal end with Ctrl-C, and tidily',
    async command => {
      const options = { calc: '--window 1h', curve: '--windows 10ms,1h', watch: '--every 20ms' }[
        command
      ]
      // The terminal turns the character into the signal; the shell before it waits until there is
      // something to interrupt.
      const { status, stdout } = await run('bash', [
        '-c',
        `coproc terminal { exec script -qec 'exec node dist/cli.js ${command} ${guest} ${options} --log-level debug' /dev/null; }
       pid=$!
       while IFS= read -r line <&\${terminal[0]}; do
         printf '%s\\n' "$line"
         if [[ -z $sent && $line == *'measurement began'* ]]; then sent=yes; printf '\\003' >&\${terminal[1]}; fi
       done
       wait $pid`,
      ])
      expect({ status, stdout }).toEqual({
        status: 130,
        stdout: expect.stringContaining('dirtyrate: interrupted\r\n'),
      })
    },
  )

  it.each([[[]], [['--json']]])('goes on until it is interrupted %j', async json => {
    let sent = false
    const { status, stdout } = await dirtyrate(
      ['watch', guest, '--every', '20ms', '--log-level', 'debug', ...json],
      {
        onStderr: (text, kill) => {
          if (!sent && (text.match(/measurement done/g)?.length ?? 0) >= 3) {
            sent = true
            kill('SIGINT')
          }
        },
      },
    )
    expect(status).toBe(130)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.length).toBeGreaterThanOrEqual(3)
    // What it ends with is a line too.
    if (json.length > 0)
      expect(JSON.parse(lines.at(-1) ?? '').error).toMatchObject({ code: 'ERR_CANCELLED' })
  })
})

describeMode('dirty-ring', 'a dirty ring on the command line', () => {
  it('is what --mode dirty-ring or log=ring is', async () => {
    const byMode = await dirtyrate([
      'calc',
      guest,
      '--mode',
      'dirty-ring',
      '--window',
      '50ms',
      '--json',
    ])
    expect(byMode.status).toBe(0)
    const measurement = JSON.parse(byMode.stdout)
    expect(measurement).toMatchObject({ mode: 'dirty-ring', complete: true, ring: { lost: 0 } })
    expect(measurement.target).toMatch(/,log=ring,ring-entries=\d+$/)
    const byLog = await dirtyrate(['calc', `${guest},ring-entries=4096`, '--window', '50ms'])
    expect(byLog.stdout).toMatch(/^mode +dirty-ring$/m)
    expect(byLog.stdout).toMatch(/^ring +[\d,]+ entries, [\d,]+ duplicates/m)
    expect(byLog.stdout).toMatch(/^vCPU 0 /m)
    const hmp = await dirtyrate([
      'calc',
      guest,
      '--mode',
      'dirty-ring',
      '--window',
      '50ms',
      '--hmp',
    ])
    expect(hmp.stdout).toMatch(
      /Mode: dirty-ring\nDirty rate: \d+ \(MB\/s\)\nvcpu\[0\], Dirty rate: \d+ \(MB\/s\)\n$/,
    )
  })
})

describeMode('page-sampling', 'page sampling on the command line', () => {
  const sampling = ['--mode', 'page-sampling', '--sample-pages', '4096', '--confidence', '0.9']

  it('has an interval', async () => {
    const { status, stdout } = await dirtyrate(['calc', guest, ...sampling, '--window', '50ms'])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^interval [\d.]+ to [\d.]+ MiB\/s \(90 %\)$/m)
    expect(stdout).toMatch(/^samples +256, of which/m)
    const hmp = await dirtyrate(['calc', guest, ...sampling, '--window', '50ms', '--hmp'])
    expect(hmp.stdout).toMatch(
      /Sample Pages: 4096 \(per GB\)\nPeriod: 0 \(sec\)\nMode: page-sampling\n/,
    )
  })

  it('has both designs and both intervals, and a seed that chooses the same pages again', async () => {
    const still = `guest:idle,memory=${MEMORY}`
    const calc = async (...options: string[]) => {
      const { status, stdout, stderr } = await dirtyrate(
        ['calc', still, ...sampling, ...options, '--window', '1ms', '--trace', '--json'],
        {},
      )
      expect(status).toBe(0)
      const lines = stderr.split('\n').filter(line => line.startsWith('get_ramblock_vfn_hash'))
      const { blocks, sampling: sampled } = JSON.parse(stdout)
      expect(lines).toHaveLength(2 * sampled.samples)
      const pages = lines
        .slice(0, sampled.samples)
        .map(line => Number(/vfn: (\d+)/.exec(line)?.[1]))
      return { pages, bound: blocks[0].sampling.pages }
    }
    const wilson = await calc('--seed', '7')
    const again = await calc('--seed', '7', '--interval', 'clopper-pearson')
    const other = await calc('--seed', '8')
    const random = await calc('--seed', '7', '--design', 'simple-random')
    expect(again.pages).toEqual(wilson.pages)
    expect(other.pages).not.toEqual(wilson.pages)
    // One in each stratum of 64 pages, or anywhere.
    const strata = ({ pages }: typeof wilson) =>
      new Set(pages.map(page => Math.floor(page / 64))).size
    expect([strata(wilson), strata(other)]).toEqual([256, 256])
    expect(strata(random)).toBeLessThan(256)
    // Nothing of 256: z² / (256 + z²) of 16,384 pages, z = 1.645; and 1 - 0.05^(1/256) of them.
    expect(wilson.bound).toEqual({ low: 0, high: 172, confidence: 0.9 })
    expect(again.bound).toEqual({ low: 0, high: 191, confidence: 0.9 })
  })

  it.each([
    [['--interval', 'wald'], '--interval'],
    [['--design', 'all'], '--design'],
    [['--seed', '-1'], '--seed'],
    [['--seed', '4294967296'], '--seed'],
    [['--sample-pages', '127'], '--sample-pages'],
  ])('refuses %j', async (options, message) => {
    const { status, stdout } = await dirtyrate([
      'calc',
      guest,
      '--mode',
      'page-sampling',
      ...options,
      '--json',
    ])
    expect(status).toBe(2)
    expect(JSON.parse(stdout).error).toMatchObject({ message: expect.stringContaining(message) })
    const exact = await dirtyrate(['calc', guest, ...options, '--json'])
    expect(JSON.parse(exact.stdout).error).toMatchObject({
      message: `${message}: used only in page-sampling mode`,
      hint: 'Give --mode page-sampling too.',
    })
  })

  it('has a curve, and can be watched', async () => {
    const curve = await dirtyrate(['curve', guest, ...sampling, '--windows', '10ms,50ms', '--json'])
    expect(curve.status).toBe(0)
    for (const point of JSON.parse(curve.stdout).points) {
      expect(point).toMatchObject({
        interval: { confidence: 0.9 },
        increment: { pages: expect.any(Number) },
      })
    }
    const watch = await dirtyrate([
      'watch',
      guest,
      ...sampling,
      '--every',
      '20ms',
      '--count',
      '2',
      '--json',
    ])
    expect(
      watch.stdout
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line).mode),
    ).toEqual(['page-sampling', 'page-sampling'])
  })
})
