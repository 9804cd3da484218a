#!/usr/bin/env node
// The command's entry. A Node that is too old for the command parses at least this (from Node 12
// on), and is told so. Node may call it by a link that it does not follow
// (--preserve-symlinks-main), so that what lies beside it is looked for from its real path.

// biome-ignore-start lint/style/useNodejsImportProtocol: Node 12 knows no such names
const { realpathSync } = require('fs')
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

/** Tells that this machine cannot run the command, as the command tells its own failures. */
function giveUp(code, message, hint) {
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ error: { code, message, hint } }, null, 2)}\n`)
  } else {
    process.stderr.write(`dirtyrate: ${message}\n${hint}\n`)
  }
  process.exitCode = 3
}

if (isOlder(running, needed)) {
  giveUp(
    'ERR_UNSUPPORTED',
    `Node ${needed} or later is needed; this is ${running}.`,
    'Get it from nodejs.org, or: nvm install 22',
  )
} else {
  const command = pathToFileURL(join(folder, 'dist', 'cli.js')).href
  import(command).catch(error => {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
    giveUp(
      'ERR_INTERNAL',
      `the command is not complete: ${error.message}`,
      'Install it again, or in a clone: npm run setup',
    )
  })
}
