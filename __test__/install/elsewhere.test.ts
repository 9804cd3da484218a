/**
 * On a platform without a binary, the package can still be installed, imported and type-checked,
 * and the first use says once that there is no binary.
 */

import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { platformPackage, tarball, UserFolder } from './installed.js'

const user = new UserFolder()
afterAll(() => user.remove())

beforeAll(async () => {
  await user.shell(`npm install --offline --os=darwin --cpu=arm64 '${tarball('dirtyrate')}'`)
})

/**
 * Imports the package, says so, and then uses it, with a process that claims to be something else.
 */
const program = (claim: string): string => `
${claim}
const { capabilities, workload } = require('dirtyrate')
console.log(typeof workload.stride)
try {
  capabilities()
} catch ({ code, message, hint }) {
  console.log(JSON.stringify({ code, message, hint }))
}
`

async function told(claim: string): Promise<{ code: string; message: string; hint: string }> {
  const { status, stdout, stderr } = await user.run('node', ['--eval', program(claim)])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const [imported, error = '{}'] = stdout.split('\n')
  expect(imported).toBe('function')
  return JSON.parse(error)
}

const claiming = (platform: string, arch: string): string =>
  `for (const [name, value] of [['platform', '${platform}'], ['arch', '${arch}']]) Object.defineProperty(process, name, { value })`

describe('without its binary', () => {
  it('the package is installed', () => {
    expect(
      readdirSync(`${user.project}/node_modules`).filter(name => !name.startsWith('.')),
    ).toEqual(['dirtyrate'])
  })

  it('says which package is missing, and how to get it', async () => {
    const { code, message, hint } = await told('')
    expect(code).toBe('ERR_NATIVE_LOAD')
    expect(message).toContain(`${process.platform}-${process.arch} (glibc `)
    expect(message).toContain(`expected the package ${platformPackage}: Cannot find module`)
    expect(hint).toContain('--omit=optional')
  })

  it.each([
    ['darwin', 'arm64'],
    ['win32', 'x64'],
    ['linux', 's390x'],
  ])('says on %s-%s that there is none', async (platform, arch) => {
    const { code, message, hint } = await told(claiming(platform, arch))
    expect(code).toBe('ERR_NATIVE_LOAD')
    expect(message).toContain(`no native binding for ${platform}-${arch}`)
    expect(hint).toContain('linux-x64 and linux-arm64, with glibc')
  })

  it('says with musl that there is none', async () => {
    const { message, hint } = await told(
      `const fs = require('node:fs')
const { readFileSync } = fs
fs.readFileSync = (file, ...rest) =>
  file === '/proc/self/maps' ? '7f-80 r-xp 0 00:00 0 /lib/ld-musl-x86_64.so.1' : readFileSync(file, ...rest)`,
    )
    expect(message).toContain(`${process.arch} (musl)`)
    expect(hint).toContain('linux-x64 and linux-arm64, with glibc')
  })

  it('the command says so, with status 3', async () => {
    const { status, stdout, stderr } = await user.run('npx', [
      '--offline',
      'dirtyrate',
      'capabilities',
    ])
    expect({ status, stdout }).toEqual({ status: 3, stdout: '' })
    expect(stderr).toContain(`expected the package ${platformPackage}`)
  })
})
