#!/usr/bin/env node
// The command's entry. A Node that is too old for the command parses at least this (from Node 12 on), and is told so.

const needed = require('../package.json').engines.node.replace('>=', '')
const running = process.versions.node

function isOlder(version, than) {
  const [a, b] = [version, than].map(text => text.split('.').map(Number))
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])
}

if (isOlder(running, needed)) {
  process.stderr.write(
    `dirtyrate: Node ${needed} or later is needed; this is ${running}.\nGet it from nodejs.org, or: nvm install 22\n`,
  )
  process.exitCode = 3
} else {
  import('../dist/cli.js')
}
