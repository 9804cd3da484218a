/**
 * The types of the installed package by each way in which TypeScript finds them, and what comes out
 * of the compiler runs.
 */

import { join } from 'node:path'
import { build } from 'rolldown'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { platformPackage, tarball, UserFolder } from './installed.js'
import { expectMeasured, typescript } from './programs.js'

const user = new UserFolder()
afterAll(() => user.remove())

beforeAll(async () => {
  await user.shell(`npm install --offline '${tarball('dirtyrate')}' '${tarball(platformPackage)}'`)
})

/** Compiles the program in a folder of its own. The declarations of the package are checked too. */
async function compile(
  folder: string,
  type: 'module' | 'commonjs',
  module: string,
  moduleResolution: string,
): Promise<void> {
  user.write(`${folder}/package.json`, JSON.stringify({ type }))
  user.write(`${folder}/measure.ts`, typescript)
  const compilerOptions = {
    module,
    moduleResolution,
    target: 'es2023',
    lib: ['es2023'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    strict: true,
    skipLibCheck: false,
    outDir: 'out',
    rootDir: '.',
  }
  user.write(`${folder}/tsconfig.json`, JSON.stringify({ compilerOptions, files: ['measure.ts'] }))
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  expect(await user.run(process.execPath, [tsc, '-p', folder])).toMatchObject({
    status: 0,
    stdout: '',
  })
}

it.each(['module', 'commonjs'] as const)('node16, %s', async type => {
  await compile(type, type, 'node16', 'node16')
  expectMeasured(await user.run('node', [`${type}/out/measure.js`]))
})

it('bundler', async () => {
  await compile('bundler', 'module', 'esnext', 'bundler')
  await build({
    input: join(user.project, 'bundler/out/measure.js'),
    platform: 'node',
    // As the README says: the binding finds its binary from where the package is.
    external: ['dirtyrate'],
    logLevel: 'silent',
    output: { file: join(user.project, 'bundler/bundle.mjs') },
  })
  expectMeasured(await user.run('node', ['bundler/bundle.mjs']))
})
