#!/usr/bin/env node
// The command's entry. A Node that is too old for the command parses at least this (from Node 12
// on), and is told so. Node may call it by a link that it does not follow
// (--preserve-symlinks-main), so that what lies beside it is looked for from its real path.

// SIGHUP tells `serve --config` to read its file again. The first reading comes only later, so that
// an early SIGHUP has no news. Before this line, Node itself ends by it.
const noNews = () => {}
const isServing =
  process.argv.includes('serve') && process.argv.some(word => /^--config(=|$)/.test(word))
if (isServing) process.on('SIGHUP', noNews)

// biome-ignore-start lint/style/useNodejsImportProtocol: Node 12 knows no such names
const { realpathSync } = require('fs')
const { constants } = require('os')
const { dirname, join } = require('path')
const { pathToFileURL } = require('url')
// biome-ignore-end lint/style/useNodejsImportProtocol: as above

const folder = dirname(dirname(realpathSync(__filename)))
const needed = require(join(folder, 'package.json')).engines.node.replace('>=', '')
const running = process.versions.node

function isOlder(version, than) {
  const [a, b] = [version, than].map(text => text.split('.').map(Number))
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])
}

/**
 * Tells why the command does not run, as the command tells its own failures. The document is one
 * line, because some commands print one document in each line.
 */
function giveUp(code, message, hint, status) {
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ error: { code, message, hint } })}\n`)
  } else {
    process.stderr.write(`dirtyrate: ${message}\n${hint}\n`)
  }
  process.exitCode = status
}

// Loading the command takes a moment, on a busy host seconds. A signal that comes meanwhile ends it
// with the words and the status of a later one. The command emits the event when it listens itself.
const early = ['SIGINT', 'SIGTERM']
function interrupted(name) {
  giveUp('ERR_CANCELLED', 'interrupted', 'Nothing was measured.', 128 + constants.signals[name])
  process.exit()
}
for (const name of early) process.on(name, interrupted)
process.once(Symbol.for('dirtyrate.listens'), () => {
  for (const name of early) process.removeListener(name, interrupted)
  process.removeListener('SIGHUP', noNews)
})

if (isOlder(running, needed)) {
  giveUp(
    'ERR_UNSUPPORTED',
    `Node ${needed} or later is needed; this is ${running}.`,
    'Get it from nodejs.org, or: nvm install 22',
    3,
  )
} else {
  const command = pathToFileURL(join(folder, 'dist', 'cli.js')).href
  import(command).catch(error => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
    giveUp(
      'ERR_INTERNAL',
      `the command is not complete: ${error.message}`,
      'Install it again, or in a clone: npm run setup',
      3,
    )
  })
}
