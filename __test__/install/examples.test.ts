/**
 * Each example against the package as installed: it runs, prints what its comment says, and
 * type-checks under the strictest options.
 */

import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { lastingLines } from './docs.js'
import { examples } from './examples.js'
import { platformPackage, tarball, UserFolder } from './installed.js'

const user = new UserFolder()
afterAll(() => user.remove())

beforeAll(async () => {
  await user.shell(`npm install --offline '${tarball('dirtyrate')}' '${tarball(platformPackage)}'`)
  mkdirSync(join(user.project, 'node_modules/@types'))
  for (const name of ['@types/node', 'undici-types']) {
    cpSync(join(root, 'node_modules', name), join(user.project, 'node_modules', name), {
      recursive: true,
    })
  }
  for (const { name, source } of examples) user.write(name, source)
})

describeKvm('each example', () => {
  it.each(examples)('$name prints what its comment says', async ({ name, prints }) => {
    const { status, stdout, stderr } = await user.run('node', [name])
    // This kernel has no dirty rings: the example says so.
    if (name === 'rings-by-vcpu.mjs' && status === 3) {
      expect(stderr).toContain('this kernel has no dirty ring')
      return
    }
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(lastingLines(stdout)).toEqual(lastingLines(prints))
  })
})

describe('the types', () => {
  it('fit in each example', async () => {
    const compilerOptions = {
      module: 'nodenext',
      target: 'es2023',
      types: ['node'],
      allowJs: true,
      checkJs: true,
      noEmit: true,
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
    }
    user.write(
      'tsconfig.json',
      JSON.stringify({ compilerOptions, files: examples.map(({ name }) => name) }),
    )
    const tsc = join(root, 'node_modules/typescript/bin/tsc')
    expect(await user.run(process.execPath, [tsc, '-p', '.'])).toMatchObject({
      status: 0,
      stdout: '',
    })
  })
})

it('finds them, each with its output', () => {
  expect(examples.map(({ name }) => name)).toEqual([
    'curve.mjs',
    'first-figure.mjs',
    'five-steps.mjs',
    'migration-client.mjs',
    'rings-by-vcpu.mjs',
    'server.mjs',
    'watch.mjs',
  ])
  expect(examples.filter(({ prints }) => prints === '')).toEqual([])
})
