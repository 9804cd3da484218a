// Clients of QMP by other authors, against the server of this package: each measures, is refused,
// and asks the human monitor. Needs /dev/kvm, and what `npm run setup` makes.
//
//   node scripts/test/qmp-clients.mjs           the clients of Python, of npm and of Rust
//   node scripts/test/qmp-clients.mjs python    only those of Python

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { commandLine } from '../command-line.mjs'
import { root } from '../root.mjs'
import { npmTools, pythonTools } from '../tools/install.mjs'

const QEMU_QMP = 'qemu.qmp==0.0.6'
const clients = join(root, 'scripts/test/qmp-clients')
const into = 'target/qmp-clients'

/** A guest whose rate its host keeps, so that a busy machine makes it no faster. */
const TARGET = 'guest:stride,pages=25600,rate=100MiB/s'
const MIB_PER_SECOND = 100
/** Longer than any client takes, also one that has to be compiled. */
const PATIENCE_MS = 600_000

/** Runs a program to its end, and returns what it printed. */
function output(command, args, input = '') {
  const options = { cwd: root, encoding: 'utf8', input, timeout: PATIENCE_MS }
  const { status, stdout, stderr, error } = spawnSync(command, args, options)
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${error ?? stderr}\n${stdout}`)
  return stdout
}

/** Serves a fresh guest while `use` runs. */
async function serving(use) {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-clients-'))
  const socket = join(folder, 'vm.qmp')
  const args = [join(root, 'dist/cli.js'), 'qmp', '--socket', socket, '--json', '--quiet', TARGET]
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(server, 'exit')
  try {
    const [line] = await Promise.race([once(createInterface(server.stdout), 'line'), ended])
    const { commands } = JSON.parse(line)
    await use(socket, commands)
    // A client leaves nothing that keeps the server from ending.
    server.kill('SIGTERM')
    assert.deepEqual(await ended, [143, null])
    assert.equal(existsSync(socket), false)
  } finally {
    server.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}

/** What every client must have got. */
function check(got, commands) {
  assert.match(got.version, /^dirtyrate /)
  assert.equal(got.before.status, 'unstarted')
  assert.deepEqual(got.status, { status: 'running', running: true })
  assert.deepEqual(
    got.commands.map(({ name }) => name),
    commands,
  )
  const { measured } = got
  assert.equal(measured.mode, 'dirty-bitmap')
  assert.equal(measured.status, 'measured')
  const rate = measured['dirty-rate']
  // The pages of the guest's counter, and of what was written at the edges, are below 1 MiB.
  assert.ok(rate >= 0 && rate <= MIB_PER_SECOND * 2, `${rate} MiB/s`)
  assert.match(got.refusal, /Calculation time is out of range \[50ms, 60000ms\]\./)
  assert.match(got.hmp, new RegExp(`\r\nDirty rate: ${rate} \\(MB/s\\)\r\n$`))
}

const python = () => pythonTools([QEMU_QMP], `${into}/python`)

const CLIENTS = {
  'python: the library qemu.qmp': () =>
    serving(async (socket, commands) => {
      const program = join(python(), 'python3')
      const got = JSON.parse(output(program, [join(clients, 'client.py'), socket]))
      check(got, commands)
      assert.equal(got.many, 100)
      assert.deepEqual(got.events, ['STOP', 'RESUME'])
    }),
  'python: qmp-shell': () =>
    serving(async socket => {
      const typed = ['query-status', 'calc-dirty-rate calc-time=0', 'no-such', 'query-name', '']
      const printed = output(join(python(), 'qmp-shell'), [socket], typed.join('\n'))
      assert.match(printed, /^Connected to QEMU 10\.0\.0$/m)
      assert.match(printed, /"running": true/)
      assert.match(printed, /Calculation time is out of range/)
      assert.match(printed, /The command no-such has not been found/)
      assert.match(printed, /"name": "guest:stride,/)
    }),
  'python: qmp-shell -H': () =>
    serving(async socket => {
      const typed = ['info dirty_rate', 'calc_dirty_rate 0', 'info no-such', '']
      const printed = output(join(python(), 'qmp-shell'), ['-H', socket], typed.join('\n'))
      assert.match(printed, /Status: unstarted/)
      assert.match(printed, /Incorrect period length specified!/)
      assert.match(printed, /unknown command: 'info no-such'/)
    }),
  'npm: qemu-qmp': () =>
    serving(async (socket, commands) => {
      const folder = npmTools('scripts/test/qmp-clients/node', `${into}/node`)
      const program = join(clients, 'client.cjs')
      check(JSON.parse(output(process.execPath, [program, folder, socket])), commands)
    }),
  'rust: the crate qapi': () =>
    serving(async (socket, commands) => {
      const manifest = join(clients, 'rust/Cargo.toml')
      const args = ['run', '--quiet', '--locked', '--manifest-path', manifest]
      const folder = join(root, into, 'rust')
      const got = JSON.parse(output('cargo', [...args, '--target-dir', folder, '--', socket]))
      check(got, commands)
      assert.ok(got.schema > commands.length)
    }),
}

const { positionals } = commandLine(import.meta.url, { allowPositionals: true })
const wanted = Object.entries(CLIENTS).filter(
  ([name]) => positionals.length === 0 || positionals.some(word => name.startsWith(`${word}:`)),
)
let failed = 0
for (const [name, test] of wanted) {
  try {
    await test()
    console.log(`ok    ${name}`)
  } catch (error) {
    failed++
    console.log(`FAIL  ${name}\n${error.stack}`)
  }
}
console.log(`${wanted.length - failed} passed, ${failed} failed`)
process.exitCode = failed > 0 || wanted.length === 0 ? 1 : 0
