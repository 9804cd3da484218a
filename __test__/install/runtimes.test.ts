/**
 * In other runtimes and with bundlers the package works, or says what to do in the terms of that
 * program.
 */

import { cpSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { type Ended, platformPackage, tarball, UserFolder } from './installed.js'
import { installTools } from './tools.js'

const user = new UserFolder()
/** Where a bundle is carried to without any package beside it. */
const away = new UserFolder()
afterAll(() => {
  user.remove()
  away.remove()
})

let tools: string
const tool = (name: string): string => join(tools, '.bin', name)

/** Uses the binding, and says how that went. Needs no KVM. */
const body = `
try {
  const guest = buildGuest(workload.stride({ pages: 1 }), { memory: '64MiB' })
  console.log(JSON.stringify({ bytes: guest.length }))
} catch ({ code, message, hint }) {
  console.log(JSON.stringify({ code, message, hint }))
}
`
const esm = `import { buildGuest, workload } from 'dirtyrate'\n${body}`
const cjs = `const { buildGuest, workload } = require('dirtyrate')\n${body}`

interface Answer {
  bytes?: number
  code?: string
  message?: string
  hint?: string
}

function answerOf({ status, stdout, stderr }: Ended): Answer {
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' })
  return JSON.parse(stdout)
}

const WORKS = { bytes: expect.any(Number) }

beforeAll(async () => {
  tools = installTools()
  await user.shell(`npm install --offline '${tarball('dirtyrate')}' '${tarball(platformPackage)}'`)
  user.write('use.mjs', esm)
  user.write('use.cjs', cjs)
  user.write('use.ts', esm)
}, 600_000)

describe('Bun', () => {
  it.each(['use.mjs', 'use.cjs', 'use.ts'])('runs %s', async file => {
    expect(answerOf(await user.run(tool('bun'), ['run', file]))).toMatchObject(WORKS)
  })
})

it('tsx runs TypeScript', async () => {
  expect(answerOf(await user.run('node', [tool('tsx'), 'use.ts']))).toMatchObject(WORKS)
})

describe('Deno', () => {
  const deno = async (...flags: string[]): Promise<Answer> =>
    answerOf(
      await user.run(tool('deno'), [
        'run',
        '--no-prompt',
        '--node-modules-dir=manual',
        ...flags,
        'use.mjs',
      ]),
    )

  it.each([
    [['--allow-all']],
    [['--allow-read', '--allow-env', '--allow-ffi']],
    // Of the environment it asks for nothing that it needs, and of the system for nothing at all.
    [['--allow-read', '--allow-ffi']],
  ])('with %j', async flags => expect(await deno(...flags)).toMatchObject(WORKS))

  it.each([
    [['--allow-read', '--allow-env', '--allow-sys'], '--allow-ffi'],
    [['--allow-env', '--allow-sys', '--allow-ffi'], '--allow-read'],
    [[], '--allow-read'],
  ])('with %j says that it needs %s', async (flags, missing) => {
    expect(await deno(...flags)).toMatchObject({
      code: 'ERR_NATIVE_LOAD',
      message: expect.stringContaining(`run again with the ${missing} flag`),
      hint: expect.stringContaining(missing),
    })
  })
})

/** Bundles a file of the user's into another, everything in it. */
type Bundle = (from: string, to: string) => Promise<void>

async function ran(command: string, args: readonly string[]): Promise<void> {
  const { status, stdout, stderr } = await user.run(command, args)
  expect({ status, said: status === 0 ? '' : stdout + stderr }).toEqual({ status: 0, said: '' })
}

/** Runs a program that has the tools by their names. */
async function programmed(program: string): Promise<void> {
  await ran('node', [user.write('bundle-it.mjs', program)])
}

const from = (path: string): string => JSON.stringify(pathToFileURL(path).href)

const esbuild =
  (format: string): Bundle =>
  (source, to) =>
    ran(tool('esbuild'), [
      source,
      '--bundle',
      '--platform=node',
      `--format=${format}`,
      `--outfile=${to}`,
    ])

const rollup =
  (format: string): Bundle =>
  (source, to) =>
    programmed(`import { createRequire } from 'node:module'
import { rollup } from ${from(join(tools, 'rollup/dist/es/rollup.js'))}
const require = createRequire(${from(join(tools, 'x.js'))})
const { nodeResolve } = require('@rollup/plugin-node-resolve')
const commonjs = require('@rollup/plugin-commonjs')
const plugins = [nodeResolve({ preferBuiltins: true }), commonjs()]
const bundle = await rollup({ input: '${source}', plugins, onLog() {} })
await bundle.write({ file: '${to}', format: '${format}' })`)

const vite: Bundle = (source, to) =>
  programmed(`import { build } from ${from(join(root, 'node_modules/vite/dist/node/index.js'))}
await build({
  configFile: false, logLevel: 'silent', root: process.cwd(), ssr: { noExternal: true },
  build: { ssr: '${source}', outDir: '.', emptyOutDir: false, rollupOptions: { output: { entryFileNames: '${to}' } } },
})`)

const webpack: Bundle = (source, to) =>
  programmed(`import { createRequire } from 'node:module'
const webpack = createRequire(${from(join(tools, 'x.js'))})('webpack')
await new Promise((resolve, reject) => webpack(
  { target: 'node', mode: 'production', entry: './${source}', output: { path: process.cwd(), filename: '${to}' } },
  (error, stats) => (error || stats.hasErrors() ? reject(error ?? stats.toString()) : resolve()),
))`)

const ncc: Bundle = async (source, to) => {
  await ran('node', [tool('ncc'), 'build', source, '-o', 'ncc', '-q'])
  const name =
    readdirSync(join(user.project, 'ncc')).find(file => file.startsWith('index.')) ?? 'none'
  cpSync(join(user.project, 'ncc', name), join(user.project, to))
  rmSync(join(user.project, 'ncc'), { recursive: true })
}

const bun: Bundle = (source, to) =>
  ran(tool('bun'), ['build', source, '--target=node', '--outfile', to])

describe.each<[string, string, string, () => Bundle]>([
  ['esbuild', 'use.mjs', 'esbuild.mjs', () => esbuild('esm')],
  ['esbuild', 'use.mjs', 'esbuild-of-esm.cjs', () => esbuild('cjs')],
  ['esbuild', 'use.cjs', 'esbuild.cjs', () => esbuild('cjs')],
  ['rollup', 'use.mjs', 'rollup.mjs', () => rollup('es')],
  ['rollup', 'use.mjs', 'rollup-of-esm.cjs', () => rollup('cjs')],
  ['rollup', 'use.cjs', 'rollup-of-cjs.mjs', () => rollup('es')],
  ['vite', 'use.mjs', 'vite.mjs', () => vite],
  ['webpack', 'use.mjs', 'webpack-of-esm.cjs', () => webpack],
  ['webpack', 'use.cjs', 'webpack.cjs', () => webpack],
  ['ncc', 'use.cjs', 'ncc.cjs', () => ncc],
  ['ncc', 'use.mjs', 'ncc.mjs', () => ncc],
  ['bun', 'use.mjs', 'bun.mjs', () => bun],
])('%s that bundles %s into %s', (_, source, to, bundle) => {
  const KEEP_EXTERNAL = {
    code: 'ERR_NATIVE_LOAD',
    hint: expect.stringContaining('Keep dirtyrate external'),
  }

  it('finds the binary where it is installed, and says to keep the package external elsewhere', async () => {
    await bundle()(source, to)
    const here = answerOf(await user.run('node', [to]))
    if (here.bytes === undefined) expect(here).toMatchObject(KEEP_EXTERNAL)
    mkdirSync(away.project, { recursive: true })
    cpSync(join(user.project, to), join(away.project, to))
    expect(answerOf(await away.run('node', [to]))).toMatchObject(KEEP_EXTERNAL)
  })
})
