/**
 * The rules for the imports of ts/: each forbids what it is there for, imports of types included,
 * and nothing that the rooms may do.
 */

import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

interface Tools {
  npmTools(from: string, into: string): string
}
const { npmTools }: Tools = await import(join(root, 'scripts/tools/install.mjs'))

interface Violation {
  rule: { name: string }
  from: string
  to: string
}

/** What modules of ts/ could import from beside it. */
const BESIDE = {
  'scripts/setup.mjs': 'export const A = 1\n',
  'node_modules/commander/package.json': '{ "name": "commander", "main": "index.js" }',
  'node_modules/commander/index.js': 'exports.A = 1\n',
}

/** What the rules say of modules, each given as its path in ts/ and what it imports. */
async function violations(modules: Record<string, string[]>): Promise<string[]> {
  const write = folder()
  const clone = dirname(
    write('package.json', '{ "type": "module", "devDependencies": { "commander": "1" } }'),
  )
  write('tsconfig.json', '{ "compilerOptions": { "module": "nodenext" } }')
  for (const [path, content] of Object.entries(BESIDE)) {
    mkdirSync(join(clone, dirname(path)), { recursive: true })
    write(path, content)
  }
  for (const [path, imports] of Object.entries(modules)) {
    const lines = imports.map((name, at) => `import type { A as a${at} } from '${name}'\n`)
    mkdirSync(join(clone, 'ts', dirname(path)), { recursive: true })
    write(`ts/${path}`, `${lines.join('')}export type A = 1\n`)
  }
  const program = 'dependency-cruiser/bin/dependency-cruise.mjs'
  const rules = join(root, 'scripts/lint/imports.rules.cjs')
  const args = [
    join(npmTools('scripts/tools', 'target/tools/node'), program),
    'ts',
    '--config',
    rules,
  ]
  const text = await new Promise<string>(resolve =>
    execFile(process.execPath, [...args, '--output-type', 'json'], { cwd: clone }, (_, stdout) =>
      resolve(stdout),
    ),
  )
  const { summary }: { summary: { violations: Violation[] } } = JSON.parse(text)
  return summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`).sort()
}

it('lets the rooms stand on what is below them', async () => {
  expect(
    await violations({
      'ground/errors.ts': [],
      'ground/binary.ts': ['node:fs', './errors.js'],
      'ground/native.ts': ['./binary.js'],
      'results/curve.ts': ['../ground/errors.js'],
      'prediction/migration.ts': ['../results/curve.js'],
      'qapi/types.ts': ['../results/curve.js'],
      'measurement/meter.ts': ['../qapi/types.js'],
      'targets/target.ts': ['../measurement/meter.js'],
      'targets/vm/source.ts': ['../target.js', '../../ground/native.js'],
      'targets/open.ts': ['./target.js', './vm/source.js'],
      'qmp/server.ts': ['../targets/target.js', '../qapi/types.js'],
      'cli/main.ts': [
        '../targets/open.js',
        '../prediction/migration.js',
        '../server/http.js',
        '../metrics/metrics.js',
        'node:path',
      ],
      'metrics/metrics.ts': ['../targets/target.js', 'commander'],
      'server/http.ts': ['../targets/target.js', '../results/curve.js', 'node:http'],
      'index.ts': ['./targets/open.js', './qmp/server.js'],
    }),
  ).toEqual([])
})

it('names what climbs, what knows too much, what no browser has, and what goes round', async () => {
  expect(
    await violations({
      'ground/errors.ts': ['../results/curve.js'],
      'ground/files.ts': ['node:fs'],
      'ground/binary.ts': [],
      'results/curve.ts': ['../ground/errors.js', '../qapi/types.js', '../ground/files.js'],
      'prediction/migration.ts': ['../qapi/types.js', 'node:os'],
      'qapi/types.ts': ['../measurement/meter.js'],
      'measurement/meter.ts': ['../ground/binary.js', '../targets/target.js'],
      'targets/target.ts': ['./vm/source.js', '../cli/main.js'],
      'targets/vm/source.ts': ['../qmp/source.js'],
      'targets/qmp/source.ts': [],
      'metrics/metrics.ts': [],
      'server/http.ts': ['../measurement/meter.js', '../cli/main.js', '../metrics/metrics.js'],
      'qmp/server.ts': ['../targets/qmp/source.js'],
      'cli/main.ts': ['../index.js'],
      'index.ts': ['./stray.js', '../scripts/setup.mjs', 'commander', './metrics/metrics.js'],
      'stray.ts': [],
      'alone.ts': [],
    }),
  ).toEqual([
    'browser: ts/prediction/migration.ts -> os',
    'browser: ts/results/curve.ts -> fs',
    'circle: ts/ground/errors.ts -> ts/results/curve.ts',
    'cli-climbs: ts/cli/main.ts -> ts/index.ts',
    'ground-climbs: ts/ground/errors.ts -> ts/results/curve.ts',
    'kinds-of-target-are-siblings: ts/targets/vm/source.ts -> ts/targets/qmp/source.ts',
    'measurement-climbs: ts/measurement/meter.ts -> ts/targets/target.ts',
    'measurement-knows-no-vm: ts/measurement/meter.ts -> ts/ground/binary.ts',
    'nothing-from-beside: ts/index.ts -> scripts/setup.mjs',
    'one-door-to-the-binding: ts/measurement/meter.ts -> ts/ground/binary.ts',
    'only-the-table-opens-targets: ts/targets/target.ts -> ts/targets/vm/source.ts',
    'orphan: ts/alone.ts -> ts/alone.ts',
    'prediction-is-pure: ts/prediction/migration.ts -> ts/qapi/types.ts',
    'qapi-climbs: ts/qapi/types.ts -> ts/measurement/meter.ts',
    'qmp-takes-any-target: ts/qmp/server.ts -> ts/targets/qmp/source.ts',
    'results-climbs: ts/results/curve.ts -> ts/qapi/types.ts',
    'root-is-the-index: ts/index.ts -> ts/stray.ts',
    'services-are-in-the-command: ts/index.ts -> ts/metrics/metrics.ts',
    'services-are-siblings: ts/server/http.ts -> ts/metrics/metrics.ts',
    'services-climbs: ts/server/http.ts -> ts/cli/main.ts',
    'services-take-any-target: ts/server/http.ts -> ts/measurement/meter.ts',
    'targets-climbs: ts/targets/target.ts -> ts/cli/main.ts',
    'the-package-depends-on-nothing: ts/index.ts -> node_modules/commander/index.js',
  ])
})
