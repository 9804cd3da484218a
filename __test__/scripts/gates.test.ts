/** The list of gates, what runs it, and the workflow that repeats some of it. */

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

interface Gate {
  name: string
  about: string
  in: string[]
  command: string[]
  env?: Record<string, string>
}
interface Counts {
  passed: number
  failed: number
  skipped: number
}
interface RunGate {
  runGate(
    gate: Pick<Gate, 'command'>,
    options: {
      root: string
      log?: string
      signal?: AbortSignal
      show?: (stream: NodeJS.WriteStream, text: string) => void
    },
  ): Promise<Counts & { ok: boolean; seconds: number; failures: string[]; secondTries: string[] }>
  countsOf(status: number, sum?: Counts): Counts
  sumReader(): { add(text: string): void; sum(): Counts | undefined }
}
const { gatesOf }: { gatesOf(root: string): Gate[] } = await import(join(root, 'scripts/gates.mjs'))
const { runGate, countsOf, sumReader }: RunGate = await import(join(root, 'scripts/gates/run.mjs'))

const gates = gatesOf(root)
const names = (part: string): string[] =>
  gates.filter(gate => gate.in.includes(part)).map(({ name }) => name)

describe('the list of gates', () => {
  it('has each name once, with a command that exists and parts that something runs', () => {
    expect(new Set(gates.map(({ name }) => name)).size).toBe(gates.length)
    for (const { name, about, command, in: parts } of gates) {
      expect(name).toMatch(/^[\w-]+(:[\w/-]+)?$/)
      expect(about).not.toBe('')
      expect(parts.length).toBeGreaterThan(0)
      for (const part of parts)
        expect(['lint', 'build', 'test', 'short', 'rig', 'full']).toContain(part)
      const [, file = ''] = command
      if (/\.(mjs|sh)$/.test(file)) expect(existsSync(join(root, file)), file).toBe(true)
    }
  })

  it('has in the full run a counterpart of everything that CI checks', () => {
    const longForm: Record<string, string> = {
      fuzz: 'fuzz:count',
      'fuzz-qmp': 'fuzz-qmp-long',
      'qmp-client': 'qmp-clients',
      loom: 'loom-3',
      'install-host': 'install',
      'electron-buffers': 'electron',
      tests: 'vitest',
      'linux-guest': 'vitest',
      'mutation-fast': 'mutation:facade-pure',
    }
    const full = names('full')
    for (const name of ['lint', 'build', 'test', 'short'].flatMap(names))
      expect(full).toContain(longForm[name] ?? name.replace('rig-short:', 'rig:'))
  })

  it('is what the workflow runs', () => {
    const workflow = readFileSync(join(root, '.github/workflows/ci.yml'), 'utf8')
    const parts = [...workflow.matchAll(/run: bash \.ci\/run (.*)$/gm)].map(([, part]) => part)
    expect(parts).toEqual(['lint', 'build', 'test', 'short', 'rig "$RIG"'])
    const rigs = /rig: \[(.*)\]/.exec(workflow)?.[1]?.split(', ')
    expect(rigs?.map(name => `rig:${name}`)).toEqual(names('rig'))
  })
})

describe('.ci/run', () => {
  it.each([
    [['nonsense'], "there is no part 'nonsense'"],
    [['rig'], 'which rig?'],
    [['rig', 'svm', 'none'], "there is no rig 'none'"],
    [['lint', 'svm'], "'svm': only the part 'rig' takes names"],
  ])('refuses %j', async (args, why) => {
    const ended = await run('bash', ['.ci/run', ...args])
    expect(ended).toMatchObject({ status: 2, stdout: '' })
    expect(ended.stderr).toContain(why)
  })
})

describe('npm run test:full', () => {
  const full = (...args: string[]): ReturnType<typeof run> =>
    run('node', ['scripts/gates/full.mjs', ...args], {
      env: { DIRTYRATE_RESULTS: dirname(folder()('x', '')) },
    })

  it('lists every gate, and all as open where nothing has run', async () => {
    const { status, stdout } = await full('--list')
    expect(status).toBe(0)
    const lines = stdout.trimEnd().split('\n')
    expect(lines.map(line => line.split(/ +/).slice(0, 2))).toEqual(
      names('full').map(name => ['open', name]),
    )
  })

  it('takes a group of gates by its name, and refuses what is none', async () => {
    expect((await full('--list', 'rig')).stdout.trimEnd().split('\n')).toHaveLength(
      names('rig').length,
    )
    const refused = await full('svm')
    expect(refused).toMatchObject({ status: 2, stdout: '' })
    expect(refused.stderr).toContain('no gate is called svm. There are: ')
  })

  it('keeps what has passed, and runs it again only when asked to', async () => {
    const env = { DIRTYRATE_RESULTS: dirname(folder()('x', '')) }
    const go = (...args: string[]): ReturnType<typeof run> =>
      run('node', ['scripts/gates/full.mjs', 'rustfmt-fuzz', ...args], { env })
    const first = await go()
    expect(first.stdout).toMatch(/\n1 passed, 0 failed\n$/)
    expect(first.stdout).toMatch(
      /^passed +rustfmt-fuzz +\d+ s, 1 passed, 0 failed, 0 skipped, at [0-9a-f]{12}\+?, /m,
    )
    expect(first.status).toBe(0)
    const second = await go()
    expect(second.stdout).toContain('== rustfmt-fuzz: passed before')
    expect(second.stdout).toMatch(/\n1 passed, 0 failed\n$/)
    expect((await go('--again')).stdout).not.toContain('passed before')
  })
})

/** Whether the process is there, and not only waits to be forgotten by the one that adopted it. */
function isRunning(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

describe('the run of vitest', () => {
  it('names what passed only at the second try', async () => {
    const inFolder = folder()
    const file = inFolder(
      'fails-at-first.test.mjs',
      'let tries = 0\nit("passes then", () => expect((tries += 1)).toBe(2))\n',
    )
    const config = inFolder('vitest.config.mjs', 'export default { test: { globals: true } }')
    const go = async (retry: string): Promise<string> => {
      const program = `
        import { runVitest } from '${join(root, 'scripts/test/run.mjs')}'
        const args = ['--root', '${dirname(file)}', '--config', '${config}', '--retry', '${retry}']
        console.log(JSON.stringify(await runVitest(args)))`
      return (await run('node', ['--input-type=module', '--eval', program])).stdout
    }
    expect(await go('0')).toContain('{"passed":0,"failed":1,"skipped":0}')
    const twice = await go('1')
    expect(twice).toContain('{"passed":1,"failed":0,"skipped":0}')
    expect(twice).toMatch(
      /^passed only at the second try: .*fails-at-first.test.mjs > passes then$/m,
    )
  })
})

describe('a gate', () => {
  // What these gates say is not shown, because .ci/run takes such lines for what failed.
  const show = (): void => {}
  const shell = (text: string, options: { log?: string; signal?: AbortSignal } = {}) =>
    runGate({ command: ['bash', '-c', text] }, { root, show, ...options })

  it('counts as one, or by the sum that it says last', async () => {
    expect(await shell('exit 0')).toMatchObject({ ok: true, passed: 1, failed: 0, skipped: 0 })
    expect(await shell('exit 3')).toMatchObject({ ok: false, passed: 0, failed: 1 })
    expect(
      await shell("echo '1 passed, 1 failed'; echo '5 passed, 0 failed, 2 skipped'; echo more"),
    ).toMatchObject({
      ok: true,
      passed: 5,
      failed: 0,
      skipped: 2,
    })
    expect(await shell("echo '5 passed, 2 failed'; exit 1")).toMatchObject({
      ok: false,
      passed: 5,
      failed: 2,
    })
    // A sum does not hide that the gate itself has failed, nor that nothing ran.
    expect(await shell("echo '5 passed, 0 failed'; exit 1")).toMatchObject({ ok: false, failed: 1 })
    expect(await shell("echo '0 passed, 0 failed'")).toMatchObject({ ok: false, failed: 1 })
    expect(await shell("echo '3 passed, 1 failed'")).toMatchObject({ ok: false, failed: 1 })
    expect(await runGate({ command: ['/no/such/program'] }, { root, show })).toMatchObject({
      ok: false,
      failed: 1,
    })
    expect(countsOf(0)).toEqual({ passed: 1, failed: 0, skipped: 0 })
  })

  it('gives its sum even when it comes in pieces', () => {
    const reader = sumReader()
    for (const piece of ['12 pas', 'sed, 3 ', 'failed\nTests  4 passed (4)\n']) reader.add(piece)
    expect(reader.sum()).toEqual({ passed: 12, failed: 3, skipped: 0 })
  })

  it('names what failed, in the words of the runners, and not what passed', async () => {
    const said = [
      'test bitmap::counts ... ok',
      'test tests::merges ... FAILED',
      '',
      "thread 'tests::merges' panicked at src/lib.rs:1:",
      'left: 1',
    ]
    const file = folder()('said', said.join('\n'))
    const { failures } = await shell(`cat ${file}; printf ' FAIL  a.test.ts > adds\\n' >&2; exit 1`)
    expect(failures).toEqual([said[1], said[3], said[4], ' FAIL  a.test.ts > adds'])
  })

  it('names what passed only at the second try', async () => {
    const line = 'passed only at the second try: __test__/a.test.ts > adds'
    const { ok, secondTries } = await shell(`echo '${line}'; echo '5 passed, 0 failed'`)
    expect({ ok, secondTries }).toEqual({ ok: true, secondTries: [line] })
  })

  it('hands on its output with the stream that it belongs on', async () => {
    const output = new Map<NodeJS.WriteStream, string>()
    await runGate(
      { command: ['bash', '-c', 'echo out; echo err >&2; echo more'] },
      {
        root,
        show: (stream, text) => output.set(stream, (output.get(stream) ?? '') + text),
      },
    )
    expect(output.get(process.stdout)).toBe('out\nmore\n')
    expect(output.get(process.stderr)).toBe('err\n')
  })

  it('keeps its output, of both streams', async () => {
    const log = folder()('log', '')
    await shell('echo out; echo err >&2', { log })
    expect(readFileSync(log, 'utf8').split('\n').sort()).toEqual(['', 'err', 'out'])
  })

  it('ends with everything that it has started when it is broken off', async () => {
    const controller = new AbortController()
    const reason = new Error('broken off')
    const log = folder()('log', '')
    const ended = shell('sleep 600 & echo "$!"; wait', { log, signal: controller.signal })
    let child = 0
    while (child === 0) {
      await new Promise(resolve => setTimeout(resolve, 20))
      child = Number(readFileSync(log, 'utf8'))
    }
    controller.abort(reason)
    await expect(ended).rejects.toBe(reason)
    // It is killed, and closed what it wrote to, a moment before the kernel says that it is gone.
    await expect.poll(() => isRunning(child)).toBe(false)
  })
})
