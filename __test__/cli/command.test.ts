import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { schemes } from '../../ts/targets/open.js'
import { memoryForKernel, QEMU_ARM64_RAM } from '../../ts/targets/vm/memory.js'
import { buildGuest, makeWorkload } from '../../ts/targets/vm/workload.js'
import { dirtyrate, root, run } from '../fixtures/command.js'
import { crashAtOnce, elf, folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY, MEMORY_BYTES, PAGE } from '../fixtures/machine.js'
import { exactModesHere, modesHere } from '../fixtures/modes.js'
import { expectTruth } from '../fixtures/truth.js'

const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))

describe('the command', () => {
  it('has its version and its help', async () => {
    expect(await dirtyrate(['--version'])).toMatchObject({
      status: 0,
      stdout: `${version}\n`,
      stderr: '',
    })
    const help = await dirtyrate(['--help'])
    expect(help).toMatchObject({ status: 0, stderr: '' })
    for (const command of ['capabilities', 'demo', 'calc', 'curve', 'watch', 'guest']) {
      expect(help.stdout).toContain(`\n  ${command}`)
      const own = await dirtyrate([command, '--help'])
      expect(own).toMatchObject({ status: 0, stderr: '' })
      expect(own.stdout).toContain('--json')
    }
  })

  it('has the help of a command by name, and knows what may be meant', async () => {
    const [whole, named, own, unknown, slip] = await Promise.all(
      [['help'], ['help', 'calc'], ['calc', '--help'], ['help', 'foo'], ['help', 'wacth']].map(
        args => dirtyrate(args),
      ),
    )
    expect(whole).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('Usage: dirtyrate'),
      stderr: '',
    })
    expect(named).toMatchObject({ status: 0, stdout: own?.stdout, stderr: '' })
    expect(unknown?.stderr).toMatch(/'foo'\nKnown: capabilities, demo, calc, /)
    expect(slip?.stderr).toContain("Did you mean 'watch'?")
  })

  it('lists every option of targets in its help', async () => {
    const names = new Set(
      schemes.flatMap(({ options, common }) => Object.keys({ ...options, ...common })),
    )
    for (const command of ['calc', 'curve', 'watch']) {
      const { stdout } = await dirtyrate([command, '--help'])
      const written = [...stdout.matchAll(/^ {2}([a-z-]+)=/gm)].map(([, name]) => name)
      expect(written.sort()).toEqual([...names].sort())
    }
  })

  it('without a command shows the help, as a mistake', async () => {
    const { status, stdout, stderr } = await dirtyrate([])
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toContain('Usage: dirtyrate')
  })

  it('writes a guest where it is told to, and needs no KVM for it', async () => {
    const file = folder()('guest.elf', '')
    const { status, stdout } = await dirtyrate([
      'guest',
      '--workload',
      'random',
      '--pages',
      '100',
      '-o',
      file,
      '--json',
    ])
    expect(status).toBe(0)
    const image = readFileSync(file)
    expect(JSON.parse(stdout)).toEqual({
      schemaVersion: 1,
      file,
      bytes: image.length,
      guest: {
        workload: 'random',
        pages: 100,
        memoryBytes: 2 ** 30,
        vcpus: 1,
        sharing: 'split',
        placement: 'packed',
      },
    })
    expect(image.subarray(0, 4).toString('latin1')).toBe('\x7fELF')
  })

  it('writes a guest with every option that a target has', async () => {
    const file = folder()('guest.elf', '')
    const options =
      '--workload random --pages 100 --vcpus 2 --rate 10MiB/s --sharing shared --placement spread --seed 7'
    const { status, stdout } = await dirtyrate(['guest', ...options.split(' '), '-o', file])
    expect(status).toBe(0)
    expect(stdout).toContain('random for 1GiB and 2 vCPUs, 10MiB/s by its own clock\n')
    const same = makeWorkload('random', {
      pages: 100,
      rate: '10MiB/s',
      pacing: 'clock',
      sharing: 'shared',
      placement: 'spread',
      seed: 7,
    })
    const ram =
      process.arch === 'arm64'
        ? [{ name: 'ram', guestAddress: QEMU_ARM64_RAM, bytes: 2 ** 30 }]
        : '1GiB'
    expect(readFileSync(file).equals(buildGuest(same, { memory: ram, vcpus: 2 }))).toBe(true)
    // A guest in a file has no host that grants it writes, so it keeps its rate by its own clock.
    const paced = makeWorkload('stride', { pages: 100, rate: '10MiB/s' })
    const alone = makeWorkload('stride', { pages: 100, rate: '10MiB/s', pacing: 'clock' })
    expect(buildGuest(paced, { memory: ram })).toEqual(buildGuest(alone, { memory: ram }))
    expect(buildGuest(paced, { memory: ram })).not.toEqual(
      buildGuest(makeWorkload('stride', { pages: 100 }), { memory: ram }),
    )
  })

  it('writes a guest of 100 MiB if nobody says how large, whatever a page is', async () => {
    const { status, stdout } = await dirtyrate(['guest', '-o', folder()('guest.elf', ''), '--json'])
    expect(status, stdout).toBe(0)
    expect(JSON.parse(stdout).guest).toMatchObject({
      pages: (100 * 2 ** 20) / PAGE,
      memoryBytes: 2 ** 30,
    })
  })
})

const sampling = ['--mode', 'page-sampling']
/** More digits than a number can have. */
const MANY_NINES = '9'.repeat(400)

/**
 * Wrong command lines, each with the status, and with the code and a part of the message in JSON.
 */
const mistakes: [string[], number, string, string][] = [
  [['nonsense'], 2, 'ERR_ARGUMENT', "unknown command 'nonsense'"],
  [['help', 'nonsense'], 2, 'ERR_ARGUMENT', "help: there is no command 'nonsense'"],
  [['calc'], 2, 'ERR_ARGUMENT', "missing required argument 'target'"],
  [['demo', '--nonsense'], 2, 'ERR_ARGUMENT', "unknown option '--nonsense'"],
  [['demo', '--log-level', 'loud'], 2, 'ERR_ARGUMENT', "'loud' is invalid"],
  [['demo', '--workload', 'nonsense'], 2, 'ERR_ARGUMENT', "'nonsense' is invalid"],
  [['demo', '--memory', '0B'], 2, 'ERR_ARGUMENT', 'memory'],
  [['demo', '--memory', '1'], 2, 'ERR_ARGUMENT', "--memory: '1' has no unit"],
  [['demo', '--memory=-1GiB'], 2, 'ERR_ARGUMENT', '--memory'],
  [['demo', '--memory', 'NaN'], 2, 'ERR_ARGUMENT', '--memory'],
  [['demo', '--memory', '6000B'], 2, 'ERR_ARGUMENT', 'memory'],
  [['demo', '--memory', '1048576TiB'], 2, 'ERR_ARGUMENT', '2^53'],
  [['demo', '--vcpus', '0'], 2, 'ERR_ARGUMENT', '--vcpus'],
  [['demo', '--vcpus', '5000'], 2, 'ERR_ARGUMENT', 'vcpus'],
  [['demo', '--pages', '0.5'], 2, 'ERR_ARGUMENT', '--pages'],
  [['demo', '--pages', '99999999'], 2, 'ERR_ARGUMENT', 'pages'],
  [['demo', '--rate', '100'], 2, 'ERR_ARGUMENT', "--rate: '100' has no unit"],
  [['demo', '--window', '1000'], 2, 'ERR_ARGUMENT', "--window: '1000' has no unit"],
  [['demo', '--window', '2h'], 2, 'ERR_ARGUMENT', "--window: '2h' is out of range"],
  [['demo', '--rounds', '0'], 2, 'ERR_ARGUMENT', '--rounds'],
  [['calc', 'guest:nonsense'], 2, 'ERR_ARGUMENT', "workload 'nonsense'"],
  [['calc', 'qemu:x'], 2, 'ERR_ARGUMENT', "scheme 'qemu'"],
  [['calc', 'guest:stride', '--window', '1'], 2, 'ERR_ARGUMENT', "'1' has no unit"],
  [['calc', 'guest:stride', '--mode', 'guess'], 2, 'ERR_ARGUMENT', "--mode: 'guess'"],
  [
    ['calc', 'guest:stride,log=bitmap', '--mode', 'dirty-ring'],
    2,
    'ERR_MODE_UNAVAILABLE',
    'dirty-ring',
  ],
  [
    ['calc', 'guest:stride,log=ring', '--mode', 'dirty-bitmap'],
    2,
    'ERR_MODE_UNAVAILABLE',
    'dirty-bitmap',
  ],
  [['calc', 'guest:stride,log=both'], 2, 'ERR_ARGUMENT', "log: 'both'"],
  [['calc', 'guest:stride,log=bitmap,ring-entries=64'], 2, 'ERR_ARGUMENT', 'ring-entries'],
  [['calc', 'guest:stride,ring-entries=-1'], 2, 'ERR_ARGUMENT', 'ring-entries'],
  [
    ['calc', 'guest:stride,ring-entries=1000'],
    2,
    'ERR_ARGUMENT',
    'ring-entries: 1000 is not a power of two',
  ],
  [
    ['calc', 'guest:stride,log=ring,manual-protect=enable'],
    2,
    'ERR_ARGUMENT',
    'manual-protect: a VM with',
  ],
  [['calc', 'guest:stride', '--sample-pages', '512'], 2, 'ERR_ARGUMENT', '--sample-pages'],
  [
    ['calc', 'guest:stride', '--mode', 'page-sampling', '--sample-pages', '127'],
    2,
    'ERR_ARGUMENT',
    '--sample-pages: 127',
  ],
  [['calc', 'guest:stride', '--confidence', '1'], 2, 'ERR_ARGUMENT', '--confidence: 1'],
  [
    ['calc', 'guest:stride', ...sampling, '--confidence', '1'],
    2,
    'ERR_ARGUMENT',
    '--confidence: 1',
  ],
  [
    ['calc', 'guest:stride', ...sampling, '--confidence', '95%'],
    2,
    'ERR_ARGUMENT',
    "--confidence: '95%'",
  ],
  [['calc', 'guest:stride', ...sampling, '--confidence', MANY_NINES], 2, 'ERR_ARGUMENT', '99...99'],
  [['calc', `guest:stride,pages=${MANY_NINES}`], 2, 'ERR_ARGUMENT', '99...99'],
  [['calc', 'guest:idle,pages=5'], 2, 'ERR_ARGUMENT', "pages: the workload 'idle' does not use it"],
  [['curve', 'guest:stride', '--windows', ','], 2, 'ERR_ARGUMENT', '--windows: no window'],
  [
    ['curve', 'guest:stride', '--windows', '50ms,1'],
    2,
    'ERR_ARGUMENT',
    "--windows: '1' has no unit",
  ],
  [['curve', 'guest:stride', '--windows', '2h'], 2, 'ERR_ARGUMENT', '--windows'],
  [['watch', 'guest:stride', '--every', '0s'], 2, 'ERR_ARGUMENT', '--every'],
  [['watch', 'guest:stride', '--count', '0'], 2, 'ERR_ARGUMENT', '--count'],
  [['demo', '--workload', 'idle', '--pages', 'abc'], 2, 'ERR_ARGUMENT', "--pages: 'abc'"],
  [
    ['demo', '--workload', 'idle', '--pages', '5'],
    2,
    'ERR_ARGUMENT',
    "pages: the workload 'idle' does not use it",
  ],
  [
    ['calc', 'guest:idle,rate=1MiB/s'],
    2,
    'ERR_ARGUMENT',
    "rate: the workload 'idle' does not use it",
  ],
  [
    ['calc', 'guest:stride,seed=1'],
    2,
    'ERR_ARGUMENT',
    "seed: the workload 'stride' does not use it",
  ],
  [
    ['calc', 'kernel:/nonexistent/kernel'],
    2,
    'ERR_KERNEL_IMAGE',
    '/nonexistent/kernel: the kernel cannot be read: No such file',
  ],
  [['calc', 'kernel:/nonexistent/kernel,initrd='], 2, 'ERR_ARGUMENT', 'initrd: it is empty'],
  [
    ['guest', '--pages', '10', '-o', '/nonexistent/folder/guest'],
    2,
    'ERR_ARGUMENT',
    '/nonexistent/folder/guest',
  ],
  [['guest', '--pages', '10'], 2, 'ERR_ARGUMENT', '-o, --output'],
  [
    ['guest', '--seed', '1', '-o', '/dev/null'],
    2,
    'ERR_ARGUMENT',
    "seed: the workload 'stride' does not use it",
  ],
  [['guest', '--rate', '100', '-o', '/dev/null'], 2, 'ERR_ARGUMENT', "--rate: '100' has no unit"],
  [
    ['guest', '--rate', '1bit/s', '-o', '/dev/null'],
    2,
    'ERR_ARGUMENT',
    'rate: a guest cannot keep a rate below 1B/s by its own clock',
  ],
]

describeKvm('a mistake', () => {
  it.each(mistakes)(
    '%j ends with %d, for people and for programs',
    async (args, status, code, message) => {
      const [text, json] = await Promise.all([dirtyrate(args), dirtyrate([...args, '--json'])])
      expect({ status: text.status, stdout: text.stdout }).toEqual({ status, stdout: '' })
      const lines = text.stderr.trimEnd().split('\n')
      expect(lines).toHaveLength(2)
      expect(lines[0]).toMatch(/^dirtyrate: /)
      expect(lines[0]).toContain(message)
      expect({ status: json.status, stderr: json.stderr }).toEqual({ status, stderr: '' })
      expect(JSON.parse(json.stdout)).toEqual({
        schemaVersion: 1,
        error: {
          code,
          message: expect.stringContaining(message),
          hint: expect.stringMatching(/./),
        },
      })
    },
  )
})

describeKvm('capabilities', () => {
  it('are a list, and one document', async () => {
    const text = await dirtyrate(['capabilities'])
    expect(text).toMatchObject({ status: 0, stderr: '' })
    expect(text.stdout).toContain('manual dirty-log protect')
    // Each module of KVM is a folder there, and of its parameters each is a file.
    const loaded = (path: string): boolean => existsSync(`/sys/module/${path}`)
    const vendor = loaded('kvm_intel') || loaded('kvm_amd')
    const emulates = loaded('kvm_pvm') && !vendor
    expect(text.stdout.includes('guests are emulated')).toBe(
      vendor || emulates || process.arch === 'arm64',
    )
    expect(text.stdout.includes('This KVM emulates')).toBe(emulates)
    const pml = ['kvm_intel', 'kvm_amd'].find(module => loaded(`${module}/parameters/pml`))
    expect(text.stdout.includes('page-modification log')).toBe(
      pml !== undefined || process.arch === 'arm64',
    )
    const { status, stdout } = await dirtyrate(['capabilities', '--json'])
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1, apiVersion: 12, pageSize: PAGE })
  })
})

describeKvm('the demo', () => {
  const quick = ['--pages', '2000', '--memory', MEMORY, '--window', '100ms', '--rounds', '2']

  it('prints a table with the truth beside each measurement', async () => {
    const { status, stdout, stderr } = await dirtyrate(['demo', ...quick])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain('A page is dirty once the guest has written to it')
    expect(stdout).toMatch(/mode +window +pages +rate +interval +truth +error +duplicates +cost/)
    for (const mode of modesHere)
      expect(stdout.match(new RegExp(`^ *${mode} .*MiB/s`, 'gm'))).toHaveLength(2)
    expect(stdout.match(/(exactly|in bounds)/g)?.length).toBeGreaterThanOrEqual(
      2 * exactModesHere.length,
    )
    expect(stdout).not.toContain('\x1b')
    const quiet = await dirtyrate(['demo', ...quick, '--quiet'])
    expect(quiet.status).toBe(0)
    expect(quiet.stdout).not.toContain('A page is dirty')
    expect(quiet.stdout.match(/(exactly|in bounds)/g)?.length).toBeGreaterThanOrEqual(
      2 * exactModesHere.length,
    )
  })

  it.each(['stride', 'random', 'hot-cold', 'silent', 'idle'])('is one document, %s', async kind => {
    // An idle guest has no use for pages.
    const options = kind === 'idle' ? quick.slice(2) : quick
    const { status, stdout, stderr } = await dirtyrate([
      'demo',
      ...options,
      '--workload',
      kind,
      '--vcpus',
      '2',
      '--json',
    ])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const demo = JSON.parse(stdout)
    expect(demo).toEqual({
      schemaVersion: 1,
      capabilities: expect.objectContaining({ apiVersion: 12 }),
      guest: {
        workload: kind,
        pages: kind === 'idle' ? 0 : 2000,
        memoryBytes: MEMORY_BYTES,
        vcpus: 2,
      },
      measurements: expect.any(Array),
    })
    const modes = demo.measurements.map(({ mode }: { mode: string }) => mode)
    expect(modes.toSorted()).toEqual([...modesHere, ...modesHere].toSorted())
    for (const { mode, pages, truth, complete } of demo.measurements) {
      expect(complete).toBe(true)
      if (mode === 'page-sampling') continue
      expect(pages).toBeGreaterThanOrEqual(truth.low)
      expect(pages).toBeLessThanOrEqual(truth.high)
    }
  })

  it('paces the guest', async () => {
    const { status, stdout } = await dirtyrate(['demo', ...quick, '--rate', '10MiB/s', '--json'])
    expect(status).toBe(0)
    for (const { mode, pages, truth } of JSON.parse(stdout).measurements) {
      if (mode === 'page-sampling') continue
      expect(pages).toBeGreaterThanOrEqual(truth.low)
      expect(pages).toBeLessThanOrEqual(truth.high)
    }
  })

  it('tells events on standard error', async () => {
    const { status, stdout, stderr } = await dirtyrate([
      'demo',
      ...quick,
      '--json',
      '--log-level',
      'debug',
    ])
    expect(status).toBe(0)
    JSON.parse(stdout)
    expect(
      stderr.match(/^debug dirtyrate::measurement: measurement done id=\d+ by=measure pages=\d+/gm),
    ).toHaveLength(2 * modesHere.length)
  })

  it('is quiet about a reader that goes away', async () => {
    const command = `"$0" dist/cli.js demo --pages 2000 --memory ${MEMORY} --window 50ms --rounds 3 | head -1`
    const { stdout, stderr } = await run('bash', ['-c', command, process.execPath])
    expect(stderr).toBe('')
    expect(stdout.split('\n')).toHaveLength(2)
  })

  it('has colour on a terminal, unless NO_COLOR', async () => {
    const command = `node dist/cli.js demo ${quick.join(' ')} --rounds 1`
    const terminal = (env: NodeJS.ProcessEnv): Promise<{ stdout: string }> =>
      run('script', ['-qec', command, '/dev/null'], {
        env: { TERM: 'xterm', NO_COLOR: undefined, ...env },
      })
    expect((await terminal({})).stdout).toContain('\x1b[32m')
    expect((await terminal({ NO_COLOR: '1' })).stdout).not.toContain('\x1b[32m')
  })
})

describeKvm('calc', () => {
  it('is one measurement', async () => {
    const uri = `guest:stride,pages=1000,memory=${MEMORY},vcpus=2`
    const { status, stdout, stderr } = await dirtyrate(['calc', uri, '--window', '100ms', '--json'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const measurement = JSON.parse(stdout)
    expect(measurement).toMatchObject({
      schemaVersion: 1,
      target: uri,
      mode: 'dirty-bitmap',
      complete: true,
    })
    expect(measurement.pages).toBeGreaterThan(0)
    expectTruth(measurement)
    const text = await dirtyrate(['calc', uri, '--window', '100ms', '--mode', 'dirty-bitmap'])
    expect(text.status).toBe(0)
    expect(text.stdout).toMatch(/^[\d.]+ MiB\/s {2}guest:stride/)
  })

  it('boots a guest from its file', async () => {
    const file = folder()('a,guest.elf', '')
    await dirtyrate(['guest', '--pages', '1000', '--memory', MEMORY, '-o', file])
    const uri = `kernel:${file.replaceAll(',', ',,')},memory=${MEMORY}`
    // A guest that is too slow for the window gets a longer one.
    for (let window = 100, pages = 0; pages < 1000; window *= 2) {
      const { status, stdout } = await dirtyrate(['calc', uri, '--window', `${window}ms`, '--json'])
      expect(status, stdout).toBe(0)
      const measurement = JSON.parse(stdout)
      expect(measurement.target).toBe(`${uri},vcpus=1`)
      pages = measurement.pages
    }
  })

  it('of a guest that crashes says how', async () => {
    const crash = folder()(
      'crash.elf',
      elf(crashAtOnce, { ram: memoryForKernel('64MiB')[0]?.guestAddress ?? 0 }),
    )
    const { status, stdout } = await dirtyrate(['calc', `kernel:${crash},memory=64MiB`, '--json'])
    expect(status).toBe(1)
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'ERR_GUEST_CRASHED',
      message: expect.stringContaining('vCPU 0'),
    })
  })

  it.each([[[]], [['--json']]])('is interrupted by SIGINT %j', async json => {
    const args = [
      'calc',
      `guest:stride,pages=1000,memory=${MEMORY}`,
      '--window',
      '1h',
      '--log-level',
      'debug',
      ...json,
    ]
    let sent = false
    const { status, stdout } = await dirtyrate(args, {
      onStderr: (text, kill) => {
        if (!sent && text.includes('measurement began')) kill('SIGINT')
        sent ||= text.includes('measurement began')
      },
    })
    expect(status).toBe(130)
    if (json.length > 0)
      expect(JSON.parse(stdout).error).toMatchObject({
        code: 'ERR_CANCELLED',
        message: 'interrupted',
      })
    else expect(stdout).toBe('')
  })
})
