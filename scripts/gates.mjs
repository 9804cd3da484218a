// The one list of gates. .ci/run, npm run test:full and the workflows run the gates of this list,
// and a test compares the workflows with it.
//
// A gate is { name, about, in, command, env?, bare?, documents? }:
//   name        one word; with a colon, one of a group: `rig:svm` is one of the rigs
//   in          which runs it is part of:
//                 lint    npm run lint: what reads the code; needs neither KVM nor root
//                 build   what builds in other ways than the tests take; needs no KVM
//                 test    the tests, on this machine's own kernel
//                 short   what downloads a kernel: the short sets of two rigs, and a Linux guest
//                 rig     every test in a rig
//                 full    npm run test:full
//               .ci/run runs the first four, or the part that is named
//   command     run in the root of the clone. A last line `N passed, N failed` gives its counts; any other gate counts as one
//   bare        it needs nothing that the set-up makes
//   documents   its answer depends on the documentation too, so that a change of that makes it run again

import { readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { rigs } from './rig/rigs.mjs'

/** How long each target is fuzzed: in CI, and in the full run. */
const FUZZ_SECONDS = 4
const FUZZ_SECONDS_FULL = 120

/** The folders of the core that cargo-mutants goes through. */
export const MUTANT_FOLDERS = ['dirty_memory', 'kvm/dirty_ring']

/** The areas of the mutation gate whose tests take seconds, so that CI runs them too. */
const FAST_AREAS = ['facade-pure']

/** The tests of TypeScript that get memory from the binding. */
const BUFFER_TESTS = ['measurement', 'qapi', 'targets/process', 'targets/vm'].map(
  folder => `__test__/${folder}/`,
)

/** CI tries a failed test in TypeScript once more: docs/decisions/second-try-in-ci.md. */
const SECOND_TRY = { DIRTYRATE_TEST_RETRY: '1' }

/** The rigs whose short set CI runs: one for each architecture. */
const SHORT_RIGS = ['svm', 'arm64-new']

const node = (script, ...args) => ['node', `scripts/${script}.mjs`, ...args]
const vitest = (...args) => ['node', 'node_modules/vitest/vitest.mjs', 'run', ...args]

const lint = [
  {
    name: 'rustfmt',
    about: "the core's and the binding's format",
    command: ['cargo', 'fmt', '--all', '--check'],
    bare: true,
  },
  {
    name: 'rustfmt-fuzz',
    about: "the fuzz targets' format",
    command: ['cargo', 'fmt', '--manifest-path', 'fuzz/Cargo.toml', '--check'],
    bare: true,
  },
  {
    name: 'clippy',
    about: 'lints of Rust',
    command: [
      'cargo',
      'clippy',
      '--workspace',
      '--all-targets',
      '--locked',
      '--',
      '-D',
      'warnings',
    ],
  },
  {
    name: 'clippy-core',
    about: 'the core as a VMM embeds it, without what only tests need',
    command: ['cargo', 'clippy', '-p', 'dirtyrate', '--lib', '--locked', '--', '-D', 'warnings'],
  },
  {
    name: 'biome',
    about: 'format and lints of TypeScript',
    command: ['npx', '--no-install', 'biome', 'ci', '--colors=off'],
  },
  {
    name: 'types',
    about: 'types of TypeScript',
    command: ['npx', '--no-install', 'tsc', '-p', 'tsconfig.json'],
  },
  {
    name: 'types-page',
    about: 'types of the page, which runs in a browser',
    command: ['npx', '--no-install', 'tsc', '-p', 'page/tsconfig.json'],
  },
  {
    name: 'widths',
    about: 'no line of a comment or of Markdown is too long',
    command: node('lint/widths'),
    bare: true,
  },
  {
    name: 'imports',
    about: 'imports of ts/ go downwards, without a circle',
    command: node('lint/imports'),
  },
  {
    name: 'crates',
    about:
      'licences and sources of the crates that we take in, and no second version of one whose types we show',
    command: node('lint/crates'),
    bare: true,
  },
  {
    name: 'workflows',
    about: 'what GitHub would refuse in the workflows, and what somebody could misuse',
    command: node('lint/workflows'),
    bare: true,
  },
  {
    name: 'breaks',
    about: 'every break of the mutation gate fits the code',
    command: node('mutation/gate', '--check'),
    bare: true,
  },
].map(gate => ({ ...gate, in: ['lint', 'full'] }))

const builds = [
  {
    name: 'binding',
    about: 'the generated binding is committed',
    command: ['git', 'diff', '--exit-code', '--', 'native'],
  },
  {
    name: 'package',
    about: 'the files and types of the npm package',
    command: node('package/check'),
    documents: true,
  },
  {
    name: 'crate',
    about: 'the crates as they are published',
    command: node('package/crates'),
    documents: true,
  },
  {
    name: 'docs',
    about: 'the API reference of both languages, without a missing page',
    command: node('build/api-reference'),
    documents: true,
  },
  {
    name: 'aarch64',
    about: 'everything compiles for arm64, and its guests are assembled',
    command: node('build/check-aarch64'),
  },
  {
    name: 'copies',
    about: 'two versions of the core link in one program',
    command: node('test/copies'),
  },
].map(gate => ({ ...gate, in: ['build', 'full'] }))

const tests = [
  {
    name: 'fuzz',
    about: 'every fuzz target for some seconds',
    in: ['build'],
    command: ['bash', 'scripts/test/fuzz.sh', String(FUZZ_SECONDS)],
  },
  {
    name: 'fuzz-qmp',
    about: 'the reader of the QMP server, for some seconds',
    in: ['build'],
    command: node('test/fuzz-qmp', String(FUZZ_SECONDS)),
  },
  {
    name: 'loom',
    about: "loom's models, with two preemptions",
    in: ['test'],
    command: node('test/loom'),
  },
  {
    name: 'address',
    about: 'AddressSanitizer',
    in: ['test', 'full'],
    command: ['bash', 'scripts/test/address.sh'],
  },
  {
    name: 'install-host',
    about: "the packages with this machine's binary, as installed",
    in: ['test'],
    command: node('test/install', '--host'),
    env: SECOND_TRY,
  },
  {
    name: 'electron-buffers',
    about: 'the tests that get memory from the binding, without external buffers, as in Electron',
    in: ['test'],
    command: node('test/electron', ...BUFFER_TESTS),
    env: SECOND_TRY,
  },
  {
    name: 'mutation-fast',
    about: 'the breaks of the facade that are noticed in seconds',
    in: ['test'],
    command: node('mutation/gate', ...FAST_AREAS.flatMap(area => ['--area', area])),
  },
  {
    name: 'qmp-client',
    about: "QEMU's own client in Python, against our QMP server",
    in: ['test'],
    command: node('test/qmp-clients', 'python'),
  },
  {
    name: 'tests',
    about: 'npm test',
    in: ['test'],
    command: ['npm', 'test'],
    env: SECOND_TRY,
  },
]

const full = [
  {
    name: 'documents',
    about: 'the tests that read the documentation',
    command: vitest('__test__/docs.test.ts', '__test__/cli/json.test.ts'),
    documents: true,
  },
  {
    name: 'cargo',
    about: 'every test in Rust, in its long form',
    command: node('test/run', 'rust'),
  },
  {
    name: 'vitest',
    about: 'every test in TypeScript, in its long form',
    command: node('test/run', 'typescript'),
  },
  {
    name: 'coverage',
    about: 'line coverage of ts/, apart from the command',
    command: node('test/run', 'typescript', '--coverage'),
  },
  {
    name: 'electron',
    about: 'every test of TypeScript, without external buffers, as in Electron',
    command: node('test/electron'),
  },
  {
    name: 'qmp-clients',
    about: 'clients of QMP in Python, JavaScript and Rust, against our server',
    command: node('test/qmp-clients'),
  },
  {
    name: 'fuzz-qmp-long',
    about: `the reader of the QMP server, for ${FUZZ_SECONDS_FULL} s`,
    command: node('test/fuzz-qmp', String(FUZZ_SECONDS_FULL)),
  },
  {
    name: 'semver',
    about: "the crates' API, compared with that of the last release",
    command: node('lint/semver'),
  },
  {
    name: 'loom-3',
    about: "loom's models, with three preemptions",
    command: node('test/loom', '3'),
  },
  {
    name: 'install',
    about: 'every package as installed',
    command: node('test/install'),
    documents: true,
  },
  {
    name: 'stryker',
    about: "StrykerJS on the facade's pure files",
    command: node('mutation/stryker'),
  },
].map(gate => ({ ...gate, in: ['full'] }))

/** The names of the areas of the mutation gate, and of the fuzz targets. */
const areas = root =>
  readdirSync(join(root, 'scripts/mutation/breaks'))
    .filter(name => name.endsWith('.mjs'))
    .map(name => basename(name, '.mjs'))
    .sort()
const fuzzTargets = root =>
  [
    ...readFileSync(join(root, 'fuzz/Cargo.toml'), 'utf8').matchAll(
      /^\[\[bin\]\]\nname = "(.*)"$/gm,
    ),
  ].map(([, name]) => name)

/** Every gate of the clone at `root`, in the order in which they run. */
export function gatesOf(root) {
  return [
    ...lint,
    ...builds,
    ...tests,
    ...SHORT_RIGS.map(name => ({
      name: `rig-short:${name}`,
      about: `the short set of tests, on ${rigs[name].about}`,
      in: ['short'],
      command: node('rig/run', name, '--short'),
    })),
    {
      name: 'linux-guest',
      about: 'a Linux of Debian under QEMU without KVM, whose writes are known',
      in: ['short'],
      command: node('test/run', 'typescript', '__test__/targets/linux-guest.test.ts'),
      env: { ...SECOND_TRY, DIRTYRATE_TEST_DOWNLOADS: '1' },
    },
    ...full,
    ...areas(root).map(area => ({
      name: `mutation:${area}`,
      about: `the breaks in scripts/mutation/breaks/${area}.mjs`,
      in: ['full'],
      command: node('mutation/gate', '--area', area),
    })),
    ...fuzzTargets(root).map(target => ({
      name: `fuzz:${target}`,
      about: `the fuzz target ${target}, for ${FUZZ_SECONDS_FULL} s`,
      in: ['full'],
      command: ['bash', 'scripts/test/fuzz.sh', String(FUZZ_SECONDS_FULL), target],
    })),
    ...Object.entries(rigs).map(([name, { about }]) => ({
      name: `rig:${name}`,
      about: `every test, on ${about}`,
      in: ['rig', 'full'],
      command: node('rig/run', name),
    })),
    ...MUTANT_FOLDERS.map(folder => ({
      name: `mutants:${folder}`,
      about: `cargo-mutants in ${folder}`,
      in: ['full'],
      command: node('mutation/mutants', folder),
    })),
  ]
}
