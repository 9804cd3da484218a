/** What a command waits for before its first window. */

import { expect, it } from 'vitest'
import { withOwnHint } from '../../ts/cli/guest-end.js'
import { parseWait, waitBefore } from '../../ts/cli/wait.js'
import { DirtyRateError } from '../../ts/ground/errors.js'
import type { Target } from '../../ts/targets/target.js'
import { memoryForKernel } from '../../ts/targets/vm/memory.js'
import { dirtyrate } from '../fixtures/command.js'
import { crashAtOnce, elf, folder, sayAndHalt } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { inSession } from '../fixtures/session.js'

/** A target whose console prints these pieces, and then ends or goes on for ever. */
function printing(pieces: readonly string[], goesOn: boolean): Target {
  let left = false
  let wake = (): void => {}
  const console: AsyncIterable<string> = {
    [Symbol.asyncIterator]() {
      const rest = [...pieces]
      return {
        async next(): Promise<IteratorResult<string, undefined>> {
          const value = rest.shift()
          if (value !== undefined) return { done: false, value }
          if (goesOn && !left) await new Promise<void>(resolve => (wake = resolve))
          return { done: true, value: undefined }
        },
        async return(): Promise<IteratorResult<string, undefined>> {
          left = true
          wake()
          return { done: true, value: undefined }
        },
      }
    },
  }
  return { console } as unknown as Target
}

const waiting = (
  target: Target,
  options: Parameters<typeof parseWait>[0],
): ReturnType<typeof inSession> =>
  inSession({}, async session => {
    await waitBefore(session, target, parseWait(options))
    return 0
  })

it('the console is waited for, however its text comes', async () => {
  for (const pieces of [
    ['login:'],
    ['boot\nlo', 'gin:'],
    ['l', 'o', 'g', 'i', 'n', ':'],
    [`${'x'.repeat(9000)}lo`, 'gin: '],
  ]) {
    expect(await waiting(printing(pieces, true), { untilConsole: 'login:' })).toMatchObject({
      status: 0,
      out: '',
    })
  }
})

it('a guest that ends first is an error that shows its last line', async () => {
  const { status, out } = await waiting(printing(['Booting\r\nKernel panic\r\n'], false), {
    untilConsole: 'login:',
  })
  expect(status).toBe(1)
  expect(JSON.parse(out).error).toEqual({
    code: 'ERR_STATE',
    message: "--until-console: the guest ended before its console printed 'login:'",
    hint: "The last line of the console is 'Kernel panic'.",
  })
})

it.each(['shutdown', 'crashed'] as const)('a guest whose end is %s ends a delay', async end => {
  const crash = { vcpu: 3, reason: 'a triple fault', instructionPointer: '0x10' }
  const target = { ended: Promise.resolve(end), state: end, crash } as unknown as Target
  const { status, out } = await waiting(target, { delay: '24h' })
  expect(status).toBe(1)
  expect(JSON.parse(out).error).toMatchObject(
    end === 'crashed'
      ? {
          code: 'ERR_GUEST_CRASHED',
          message:
            '--delay: the guest crashed before the first window: vCPU 3: a triple fault at 0x10',
        }
      : { code: 'ERR_STATE', message: '--delay: the guest ended before the first window' },
  )
})

it('the hints of an ended guest are those of the command', async () => {
  for (const [state, code] of [
    ['shutdown', 'ERR_STATE'],
    ['crashed', 'ERR_GUEST_CRASHED'],
  ] as const) {
    const error = new DirtyRateError(code, 'the guest has ended', {
      hint: 'Create a new VirtualMachine.',
    })
    const told = withOwnHint(error, { state } as unknown as Target) as DirtyRateError
    expect(told).toMatchObject({ code, message: 'the guest has ended', cause: error })
    expect(told.hint).toMatch(/^The guest (switched itself off|cannot go on): /)
    expect(withOwnHint(error, { state: 'running' } as unknown as Target)).toBe(error)
  }
})

it('a console that never prints it is left when the time is up', async () => {
  const { status, out } = await waiting(printing([], true), {
    untilConsole: 'login:',
    consoleTimeout: '20ms',
  })
  expect(status).toBe(1)
  expect(JSON.parse(out).error).toMatchObject({
    code: 'ERR_STATE',
    message: "--until-console: the time is up before the console printed 'login:'",
    hint: expect.stringContaining('console=ttyS0'),
  })
})

it.each([
  ['a delay', { delay: '1h' }],
  ['a console', { untilConsole: 'login:', delay: '1h' }],
])('%s ends with SIGINT', async (_, options) => {
  const { status, out } = await inSession({}, async session => {
    setImmediate(() => process.kill(process.pid, 'SIGINT'))
    await waitBefore(session, printing([], true), parseWait(options))
    return 0
  })
  expect(status).toBe(130)
  expect(JSON.parse(out).error).toMatchObject({ code: 'ERR_CANCELLED', message: 'interrupted' })
})

it('a target without a console refuses to wait for one', async () => {
  const { status, out } = await waiting({} as Target, { untilConsole: 'login:' })
  expect(status).toBe(2)
  expect(JSON.parse(out).error.message).toBe('--until-console: this target has no console')
})

describeKvm('a real guest', () => {
  const ram = memoryForKernel('64MiB')[0]?.guestAddress ?? 0

  it.each(['calc', 'curve', 'watch'])(
    'is measured by %s once its console has printed the text',
    async command => {
      const file = folder()('hello.elf', elf(sayAndHalt('hello world'), { ram }))
      const options = {
        calc: ['--window', '10ms'],
        curve: ['--windows', '10ms'],
        watch: ['--every', '10ms', '--count', '1'],
      }[command] as string[]
      const wait = ['--until-console', 'o wo', '--delay', '1ms']
      const { status, stdout } = await dirtyrate([
        command,
        `kernel:${file},memory=64MiB`,
        ...options,
        ...wait,
        '--json',
      ])
      expect({ status, stdout }).toMatchObject({
        status: 0,
        stdout: expect.stringContaining('"complete"'),
      })
    },
  )

  it('that never prints the text is an error that shows what it printed', async () => {
    const file = folder()('hello.elf', elf(sayAndHalt('hello world'), { ram }))
    const never = ['--until-console', 'login:', '--console-timeout', '2s', '--json']
    const { status, stdout } = await dirtyrate(['calc', `kernel:${file},memory=64MiB`, ...never])
    expect(status).toBe(1)
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'ERR_STATE',
      hint: "The last line of the console is 'hello world'.",
    })
  })

  it.each([
    [
      ['--until-console', 'x'],
      "--until-console: the guest crashed before its console printed 'x': vCPU 0: ",
    ],
    // Nobody waits for a day in vain: the delay ends with the guest.
    [['--delay', '24h'], '--delay: the guest crashed before the first window: vCPU 0: '],
    [
      ['--window', '1h'],
      /^the guest crashed (within the window|when the measurement began): vCPU 0: /,
    ],
  ])('that crashes is an error with its reason: %j', async (options, message) => {
    const file = folder()('crash.elf', elf(crashAtOnce, { ram }))
    const { status, stdout } = await dirtyrate([
      'calc',
      `kernel:${file},memory=64MiB`,
      ...options,
      '--json',
    ])
    expect(status).toBe(1)
    expect(JSON.parse(stdout).error).toEqual({
      code: 'ERR_GUEST_CRASHED',
      message:
        typeof message === 'string'
          ? expect.stringContaining(message)
          : expect.stringMatching(message),
      hint: 'The guest cannot go on: give another image, command line or machine, and run this again.',
    })
  })
})

it.each([
  [['--delay', '1'], "--delay: '1' has no unit"],
  [['--delay', '25h'], "--delay: '25h' is out of range"],
  [['--until-console', ''], '--until-console: it is empty'],
  [['--console-timeout', '1s'], '--console-timeout: used only with --until-console'],
])('%j is refused', async (options, message) => {
  for (const command of ['calc', 'curve', 'watch']) {
    const { status, stdout } = await dirtyrate([command, 'guest:idle', ...options, '--json'])
    expect(status).toBe(2)
    expect(JSON.parse(stdout).error.message).toBe(message)
  }
})
