/** Where results go: full disks, closed pipes, readers that leave. */

import { expect, it } from 'vitest'
import { DirtyRateError } from '../../ts/index.js'
import { root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'
import { MEMORY } from '../fixtures/machine.js'
import { inSession } from '../fixtures/session.js'

const guest = `guest:stride,pages=1000,memory=${MEMORY}`

/** A line of bash in which $D is the command. */
const shell = (line: string): ReturnType<typeof run> =>
  run('bash', ['-c', `D="$0 dist/cli.js"; ${line}`, process.execPath])

/** Each command, and what else it prints to standard output. */
const commands = [
  'capabilities',
  `demo --pages 1000 --memory ${MEMORY} --window 20ms`,
  `calc ${guest} --window 20ms`,
  `curve ${guest} --windows 10ms,20ms`,
  `watch ${guest} --every 20ms`,
  'guest --pages 10 -o /dev/null',
  'list',
  'doctor',
  '--help',
  'watch --help',
  '--version',
]

describeKvm('standard output', () => {
  it.each(commands)('that is full ends %s with one line and status 1', async command => {
    const text = await shell(`$D ${command} >/dev/full`)
    const line =
      'dirtyrate: standard output cannot be written to: no space left on device (ENOSPC)\n'
    expect(text).toMatchObject({ status: 1, stderr: line })
    const json = await shell(`$D ${command} --json >/dev/full`)
    expect(json).toMatchObject({ status: 1, stderr: line })
  })

  it.each(commands)('whose reader has gone ends %s quietly', async command => {
    for (const more of ['', '--json']) {
      const fifo = `${folder()('x', '')}.fifo`
      // The reader has gone before there is anything to write.
      const ended = await shell(
        `mkfifo "${fifo}" && { $D ${command} ${more} >"${fifo}" & } && exec 3<"${fifo}" && exec 3<&- && wait $!`,
      )
      expect(ended).toMatchObject({ status: 0, stdout: '', stderr: '' })
    }
  })

  it('that cannot be written to says why, whatever it is', async () => {
    expect(await shell('$D capabilities 1</dev/null')).toMatchObject({
      status: 1,
      stderr: 'dirtyrate: standard output cannot be written to: bad file descriptor (EBADF)\n',
    })
    expect((await shell('$D capabilities 1</')).status).toBe(1)
  })

  it('that takes a part only is a failure, not a part of a result', async () => {
    const file = folder()('out.json', '')
    // One block of 1024 bytes, which the document of a demo does not fit.
    const { status, stderr } = await shell(
      `ulimit -f 1; $D demo --pages 1000 --memory ${MEMORY} --window 20ms --json >${file}`,
    )
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'dirtyrate: standard output cannot be written to: file too large (EFBIG)\n',
    })
  })

  it('of an error that cannot be told leaves the status of the error', async () => {
    expect((await shell('$D calc guest:nonsense --json >/dev/full')).status).toBe(2)
    expect((await shell('$D calc guest:nonsense 2>/dev/full')).status).toBe(2)
    expect((await shell('$D nonsense --json >/dev/full 2>&1')).status).toBe(2)
  })

  it('gets all of a long result through a slow pipe', async () => {
    const { stdout } = await shell(
      `$D watch ${guest} --every 1ms --count 200 --json | { sleep 1; cat; }; echo "\${PIPESTATUS[0]}"`,
    )
    const lines = stdout.trimEnd().split('\n')
    expect(lines.pop()).toBe('0')
    expect(lines.map(line => JSON.parse(line).schemaVersion)).toEqual(Array(200).fill(1))
  })
})

describeKvm('standard error', () => {
  it.each([
    ['closed by its reader', '2> >(exec true)'],
    ['full', '2>/dev/full'],
    ['closed', '2>&-'],
  ])('that is %s takes nothing from the result', async (_, redirection) => {
    const { status, stdout } = await shell(
      `$D calc ${guest} --window 100ms --json --log-level debug ${redirection}`,
    )
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ schemaVersion: 1, complete: true })
  })

  it('and standard input may both be closed', async () => {
    const { status, stdout } = await shell(`$D calc ${guest} --window 20ms --json <&- 2>&-`)
    expect(status).toBe(0)
    expect(JSON.parse(stdout).complete).toBe(true)
    expect((await shell(`$D calc ${guest} --window 20ms <&- >&- 2>&-`)).status).toBe(0)
  })

  it('may have the same end as standard output', async () => {
    const { status, stdout } = await shell(
      `$D calc ${guest} --window 20ms --log-level debug 2>&1 | cat`,
    )
    expect(status).toBe(0)
    expect(stdout).toMatch(/^debug dirtyrate.*\n(.*\n)*[\d.]+ MiB\/s {2}guest:stride/)
  })
})

it('is one document, and what fails after the result is told beside it', async () => {
  const { status, out, err } = await inSession({}, async session => {
    session.document({ schemaVersion: 1 })
    throw new DirtyRateError('ERR_KVM_IOCTL', 'the VM cannot be closed')
  })
  expect(JSON.parse(out)).toEqual({ schemaVersion: 1 })
  expect(err).toMatch(/^dirtyrate: the VM cannot be closed\n.+\n$/)
  expect(status).toBe(1)
})

it('has an error of a kind that nobody foresaw in the form of the others', async () => {
  const { status, out } = await inSession({}, async () => {
    throw new TypeError('x is not a function')
  })
  expect(JSON.parse(out).error).toEqual({
    code: 'ERR_INTERNAL',
    message: 'x is not a function',
    hint: expect.stringContaining('report it'),
  })
  expect(status).toBe(1)
  const text = await inSession({ json: false }, async () => {
    throw 'a string'
  })
  expect(text.err).toMatch(/^dirtyrate: a string\n.*report it/)
})

describeKvm('a command line without a command', () => {
  it('is one document with --json, as every mistake', async () => {
    const { status, stdout, stderr } = await run(process.execPath, ['dist/cli.js', '--json'])
    expect({ status, stderr }).toEqual({ status: 2, stderr: '' })
    expect(JSON.parse(stdout).error).toMatchObject({
      code: 'ERR_ARGUMENT',
      message: 'no command is given',
    })
  })

  it.each([
    [['capabilites'], "unknown command 'capabilites' (Did you mean capabilities?)"],
    [['calc', 'guest:idle', '--windw', '1s'], "unknown option '--windw' (Did you mean --window?)"],
    [['curve', 'guest:idle', 'guest:idle'], "too many arguments for 'curve'"],
    [['--log-level', '--json'], "argument '--json' is invalid"],
    [['--', '--json'], "unknown command '--json'"],
  ])('or with one that there is not (%j) says what may be meant', async (args, message) => {
    const { status, stdout, stderr } = await run(process.execPath, [`${root}/dist/cli.js`, ...args])
    expect(status).toBe(2)
    if (args[0] === '--log-level') expect(JSON.parse(stdout).error.message).toContain(message)
    else expect(stderr.split('\n')[0]).toContain(`dirtyrate: ${message}`)
  })
})
