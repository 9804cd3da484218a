// npm run bench: everything that is measured beside a reference, or with --quick what shows the
// targets of this project, in about a minute once it is built. With --json the targets as one
// array: name, ours, reference, unit, ratio, target, met, cpu; target and met are null for a ratio
// that is only stated. A ratio compares what was measured in one run on one processor, which `cpu`
// names.

import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { root } from '../scripts/root.mjs'
import { setUp } from '../scripts/setup.mjs'
import { processor } from './cpu.mjs'

const help = `Usage: npm run bench -- [--quick] [--json]

  --quick  only what shows the targets, in about a minute once it is built
  --json   the targets as one JSON array on standard output, and nothing else
`

function options() {
  try {
    const flag = { type: 'boolean', default: false }
    return parseArgs({ options: { quick: flag, json: flag, help: flag } }).values
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${help}`)
    process.exit(2)
  }
}

const { quick, json, help: asked } = options()
if (asked) {
  process.stdout.write(help)
  process.exit(0)
}

const cargo = (crate, bench, ...args) => [
  'cargo',
  'bench',
  '--locked',
  '-p',
  crate,
  '--bench',
  bench,
  '--',
  ...args,
]
const node = (file, ...args) => [
  process.execPath,
  '--expose-gc',
  join(root, 'benches', file),
  ...args,
]
const ifQuick = quick ? ['--quick'] : []
const hasQemu = spawnSync('qemu-system-x86_64', ['--version']).status === 0
if (!hasQemu) process.stderr.write('bench: there is no qemu-system-x86_64 to measure beside\n')

/** Those that print their targets. */
const withTargets = [
  cargo('dirtyrate', 'kernel_targets'),
  cargo('dirtyrate-machine', 'sync', ...ifQuick),
  cargo('dirtyrate', 'rings', ...ifQuick),
  cargo('dirtyrate', 'sampling', ...ifQuick),
  node('binding.mjs'),
  node('idle.mjs'),
  node('process-sampling.mjs', ...ifQuick),
  ...(hasQemu ? [node('beside-qemu.mjs', ...ifQuick)] : []),
]
/** Tables without a target of their own. */
const tables = quick || json ? [] : [cargo('dirtyrate', 'kernels')]

setUp()
const cpu = processor()
if (!json) process.stdout.write(`${cpu}\n`)
const rows = []
let failed = false
for (const [command, ...args] of [
  ...withTargets.map(run => (json ? [...run, '--json'] : run)),
  ...tables,
]) {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', json ? 'pipe' : 'inherit', 'inherit'],
    maxBuffer: 2 ** 26,
  })
  if (status !== 0) {
    failed = true
    process.stderr.write(
      `${command} ${args.join(' ')}: ${error?.message ?? `ended with ${status}`}\n`,
    )
  }
  for (const line of (stdout ?? '').split('\n'))
    if (line.startsWith('{')) rows.push({ ...JSON.parse(line), cpu })
}
if (json) process.stdout.write(`${JSON.stringify(rows, null, 2)}\n`)
process.exitCode = failed ? 1 : 0
