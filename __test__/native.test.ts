import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { load } from '../ts/native.js'
import { root, run } from './fixtures/command.js'

const failure = (error: unknown): { message: string } => {
  try {
    load(() => {
      throw error
    })
  } catch (caught) {
    return caught as { message: string }
  }
  throw new Error('it loaded')
}

const linker = (message: string, cause?: unknown): Error =>
  Object.assign(new Error(message, { cause }), { code: 'ERR_DLOPEN_FAILED' })

describe('a binding that does not load', () => {
  it('is one error with the platform, the libc and the package', () => {
    const error = failure(new Error('Cannot find module'))
    expect(error).toMatchObject({ code: 'ERR_NATIVE_LOAD', hint: expect.stringContaining('npm run setup') })
    expect(error.message).toContain(`${process.platform}-${process.arch}`)
    expect(error.message).toMatch(/glibc [\d.]+|musl/)
    expect(error.message).toMatch(/package dirtyrate-linux-\w+-(gnu|musl)/)
  })

  it("shows the dynamic linker's word, however deep, and not npm's bug", () => {
    const deep = new Error('npm has a bug', {
      cause: linker('version GLIBC_2.99 not found', new Error('Cannot find module')),
    })
    expect(failure(deep).message).toMatch(/GLIBC_2.99 not found$/)
    expect(failure(linker('first', linker('deepest'))).message).toMatch(/deepest$/)
    expect(failure(new Error('top', { cause: new Error('bottom') })).message).toMatch(/bottom$/)
  })

  it.each([
    ['absent', undefined, /Cannot find|MODULE_NOT_FOUND/],
    ['no library', 'not an ELF', /invalid ELF header|file too short/],
  ])('is told by the package as installed: %s', async (_, content, reason) => {
    const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-install-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
    cpSync(join(root, 'package.json'), join(folder, 'package.json'))
    mkdirSync(join(folder, 'native'))
    cpSync(join(root, 'native/binding.cjs'), join(folder, 'native/binding.cjs'))
    for (const name of readdirSync(join(root, 'native'))) {
      if (name.endsWith('.node') && content !== undefined)
        writeFileSync(join(folder, 'native', name), content)
    }
    const command = [join(folder, 'dist/cli.js'), 'capabilities', '--json']
    const env = { NAPI_RS_NATIVE_LIBRARY_PATH: undefined }
    const { status, stdout, stderr } = await run(process.execPath, command, { env })
    expect({ status, stderr }).toEqual({ status: 3, stderr: '' })
    const { error } = JSON.parse(stdout)
    expect(error.code).toBe('ERR_NATIVE_LOAD')
    expect(error.message).toMatch(reason)
  })
})

it('the binding that loads is the one that the environment names', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-named-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const library = join(folder, 'named.node')
  const built = readdirSync(join(root, 'native')).find(name => name.endsWith('.node')) ?? 'none'
  cpSync(join(root, 'native', built), library)
  const program = `
    import { readFileSync } from 'node:fs'
    import { capabilities } from 'dirtyrate'
    try { capabilities() } catch {}
    console.log(readFileSync('/proc/self/maps', 'utf8').includes(process.env.NAPI_RS_NATIVE_LIBRARY_PATH))`
  const env = { NAPI_RS_NATIVE_LIBRARY_PATH: library }
  const ended = await run(process.execPath, ['--input-type=module', '--eval', program], { env })
  expect(ended).toMatchObject({ status: 0, stdout: 'true\n' })
})
