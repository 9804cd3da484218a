/**
 * Scripts and the command, called by links to them and from folders with unusual names: they run,
 * and do not end as if they had.
 */

import { readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'

/** A folder whose name a shell, a URL and an import have to quote. */
const unusual = (): string => join(dirname(folder()('x', '')), "a b%20#'ü")

it.each(['a link to the clone', 'a link to the script'])(
  'a script runs when called by %s',
  async how => {
    const link = unusual()
    symlinkSync(how === 'a link to the clone' ? root : join(root, 'scripts/setup.mjs'), link)
    const script = how === 'a link to the clone' ? join(link, 'scripts/setup.mjs') : link
    for (const flags of [[], ['--preserve-symlinks-main']]) {
      // Only with no cargo in its PATH does the set-up say anything; a script that took itself for
      // an import would be silent.
      const env = {
        PATH: dirname(process.execPath) === '/usr/bin' ? '/nowhere' : dirname(process.execPath),
      }
      const { status, stderr } = await run(process.execPath, [...flags, script], { env })
      expect(status, stderr).toBe(flags.length > 0 && how !== 'a link to the clone' ? 1 : 3)
      expect(stderr).toMatch(status === 1 ? /ERR_MODULE_NOT_FOUND/ : /^dirtyrate: cargo is missing/)
    }
  },
)

it('an import of a script is no call of it', async () => {
  const { isMain } = await import(`${root}/scripts/main-module.mjs`)
  expect(isMain(import.meta.url)).toBe(false)
})

it('every script asks the same module whether it was called', () => {
  for (const name of readdirSync(join(root, 'scripts'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.mjs') || name === 'main-module.mjs') continue
    expect(readFileSync(join(root, 'scripts', name), 'utf8'), name).not.toMatch(
      /process\.argv\[1\]/,
    )
  }
})

it.each([[[]], [['--preserve-symlinks-main']], [['--preserve-symlinks']]])(
  'the command runs when called by a link, %j',
  async flags => {
    const link = unusual()
    symlinkSync(join(root, 'bin/dirtyrate.cjs'), link)
    const { status, stdout, stderr } = await run(process.execPath, [...flags, link, '--version'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/^\d+\.\d+\.\d+/)
    if (flags.length > 0) return
    // As a shell finds it in its PATH.
    expect(await run(link, ['--version'])).toMatchObject({ status: 0, stdout })
  },
)

it('the command of a clone that was not built says so', async () => {
  const make = folder()
  make('package.json', readFileSync(join(root, 'package.json')))
  const copy = make('dirtyrate.cjs', readFileSync(join(root, 'bin/dirtyrate.cjs')))
  const nested = join(dirname(copy), 'bin')
  await run('bash', ['-c', 'mkdir "$0" && mv "$1" "$0"', nested, copy])
  const command = join(nested, 'dirtyrate.cjs')
  const text = await run(process.execPath, [command, 'capabilities'])
  expect(text).toMatchObject({ status: 3, stdout: '' })
  expect(text.stderr).toMatch(/^dirtyrate: the command is not complete: .*\n.*npm run setup\n$/)
  const json = await run(process.execPath, [command, 'capabilities', '--json'])
  expect(json).toMatchObject({ status: 3, stderr: '' })
  expect(JSON.parse(json.stdout).error).toMatchObject({ code: 'ERR_INTERNAL' })
})
