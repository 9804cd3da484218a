/** The tarballs in an empty folder, with no network, no compiler and no Rust. */

import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeKvm } from '../fixtures/kvm.js'
import { platformPackage, tarball, UserFolder } from './installed.js'
import { cjs, esm, expectMeasured } from './programs.js'

const user = new UserFolder()
afterAll(() => user.remove())

beforeAll(async () => {
  await user.shell(`npm install --offline '${tarball('dirtyrate')}' '${tarball(platformPackage)}'`)
})

it('is installed where nothing could be built', async () => {
  for (const program of ['cc', 'gcc', 'clang', 'cargo', 'rustc', 'python3', 'make', 'node-gyp']) {
    expect(await user.run('sh', ['-c', `command -v ${program}`]), program).toMatchObject({
      stdout: '',
    })
  }
  expect(readdirSync(`${user.project}/node_modules`).filter(name => !name.startsWith('.'))).toEqual(
    ['dirtyrate', platformPackage].sort(),
  )
})

describe('measures', () => {
  it('from an ES module', async () => {
    user.write('measure.mjs', esm)
    expectMeasured(await user.run('node', ['measure.mjs']))
  })

  it('from CommonJS', async () => {
    user.write('measure.cjs', cjs)
    expectMeasured(await user.run('node', ['measure.cjs']))
  })

  it('by the command', async () => {
    expectMeasured(
      await user.run('npx', [
        '--offline',
        'dirtyrate',
        'calc',
        'guest:stride,pages=2000,memory=64MiB',
        '--window',
        '200ms',
        '--json',
      ]),
    )
  })
})

describeKvm('the demo', () => {
  it('agrees with the guest in every figure', async () => {
    const demo = ['dirtyrate', 'demo', '--pages', '2000', '--memory', '64MiB', '--window', '200ms']
    const { status, stdout } = await user.run('npx', ['--offline', ...demo])
    expect(status).toBe(0)
    expect(stdout).toContain('Every exact measurement agrees with what the guest really wrote.')
  })
})
