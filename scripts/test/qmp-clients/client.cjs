// A client of QMP with the library qemu-qmp. Prints what it got as JSON.
//
//   node client.cjs FOLDER-OF-NODE_MODULES SOCKET

const { createRequire } = require('node:module')
const { join } = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

const [folder, path] = process.argv.slice(2)
const QMP = createRequire(join(folder, 'x.js'))('qemu-qmp')

const client = new QMP()

/** What a command returns; its error as an Error. */
const execute = (command, args) =>
  new Promise((resolve, reject) =>
    client.execute(command, args ?? {}, (error, value) =>
      error === null ? resolve(value) : reject(error),
    ),
  )

async function main() {
  await new Promise((resolve, reject) =>
    client.connect(path, error => (error === null ? resolve() : reject(error))),
  )
  const got = { version: client.version.package }
  got.before = await execute('query-dirty-rate')
  got.status = await execute('query-status')
  got.commands = await execute('query-commands')
  const unit = { 'calc-time-unit': 'millisecond' }
  await execute('calc-dirty-rate', { 'calc-time': 200, ...unit, mode: 'dirty-bitmap' })
  do {
    await sleep(20)
    got.measured = await execute('query-dirty-rate')
  } while (got.measured.status !== 'measured')
  got.refusal = await execute('calc-dirty-rate', { 'calc-time': 0 }).catch(error => error.message)
  got.hmp = await execute('human-monitor-command', { 'command-line': 'info dirty_rate' })
  client.end()
  console.log(JSON.stringify(got))
}

main()
