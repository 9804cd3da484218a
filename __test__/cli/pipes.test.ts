/** Files that the command reads and that are pipes. */

import { expect, it } from 'vitest'
import { run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

const asked = ['--bandwidth', '1Gbit/s', '--downtime', '300ms']
const curve = JSON.stringify({
  points: [0.1, 1, 10].map(seconds => ({
    windowNs: seconds * 1e9,
    bytesPerSecond: 1e7,
    interval: { low: 1e7, high: 1e7, confidence: 1 },
  })),
  memory: { bytes: 2 ** 30 },
})

it.each([
  ['predict', '--curve', 'FIFO', ...asked],
  ['plan', 'FIFO', ...asked],
  ['plan', '--prometheus', 'http://127.0.0.1:1', '--token-file', 'FIFO', ...asked],
  ['serve', 'guest:stride', '--token-file', 'FIFO'],
  ['serve', '--config', 'FIFO'],
  ['serve', 'guest:stride', '--tls-cert', 'FIFO', '--tls-key', 'FIFO'],
])('SIGINT ends %s %s %s while nobody writes into the pipe', async (...args) => {
  const fifo = `${folder()('x', '')}.fifo`
  const command = args.map(arg => (arg === 'FIFO' ? fifo : arg))
  // A process that cannot exit is killed, with status 137.
  const line =
    'mkfifo "$0" && timeout --preserve-status -k 10 -s INT 3 node dist/cli.js "$@" </dev/null'
  const ended = await run('bash', ['-c', line, fifo, ...command])
  expect(ended.stderr).toContain('dirtyrate: interrupted')
  expect(ended.status).toBe(130)
})

it.each([
  ['a named pipe', 'mkfifo "$0.fifo"; { sleep 1; cat "$0"; } >"$0.fifo" & file=$0.fifo'],
  ['a pipe of the shell', 'exec 3< <(sleep 1; cat "$0"); file=/dev/fd/3'],
])('predict waits for who writes into %s', async (_, open) => {
  const line = `${open}; node dist/cli.js predict --curve "$file" "$@"`
  const ended = await run('bash', ['-c', line, folder()('curve.json', curve), ...asked])
  expect(ended).toMatchObject({ status: 0, stderr: '' })
  expect(ended.stdout).toMatch(/^converges\n/)
})

it('serve takes no pipe for a recording, which is read from its beginning again', async () => {
  const fifo = `${folder()('x', '')}.fifo`
  const line = 'mkfifo "$0" && timeout -k 10 20 node dist/cli.js serve --recording "$0" </dev/null'
  const ended = await run('bash', ['-c', line, fifo])
  expect(ended.stderr).toContain(`--recording: '${fifo}': it is no regular file`)
  expect(ended.status).toBe(2)
})
