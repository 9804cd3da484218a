/** The manual pages of the package, as the programs that show them read them. */

import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { makeProgram } from '../../ts/cli/program.js'
import { EXAMPLES } from '../../ts/cli/target-help.js'
import { root, run } from '../fixtures/command.js'
import { describeInstalled } from '../fixtures/installed-programs.js'

const { man, version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))
const program = makeProgram(async () => {})
const commands = program
  .createHelp()
  .visibleCommands(program)
  .filter(command => command.name() !== 'help')

/**
 * A page as a terminal of 200 columns shows it, without its styles; fails on what groff warns of.
 */
async function shown(page: string): Promise<string> {
  const { status, stdout, stderr } = await run('man', ['--warnings', '-l', `${root}/${page}`], {
    env: { MANWIDTH: '200', MANPAGER: 'cat', LC_ALL: 'C.UTF-8', TERM: 'dumb' },
  })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  return stdout.replaceAll(/\s+/g, ' ')
}

it('are those of package.json: one of the program, and one of each command', () => {
  const pages = readdirSync(`${root}/dist/man`).map(name => `./dist/man/${name}`)
  expect([...man].sort()).toEqual(pages.sort())
  const names = ['dirtyrate', ...commands.map(command => `dirtyrate-${command.name()}`)]
  expect(pages).toEqual(names.map(name => `./dist/man/${name}.1`).sort())
})

describeInstalled('man', 'as man shows them, they', () => {
  it.each(commands)('have every option of the command %#', async command => {
    const text = await shown(`dist/man/dirtyrate-${command.name()}.1`)
    expect(text).toContain(command.description())
    expect(text).toContain(`dirtyrate ${version}`)
    for (const { flags, description } of [...command.options, ...program.options]) {
      expect(text).toContain(flags)
      expect(text).toContain(description)
    }
    for (const example of EXAMPLES[command.name()] ?? []) expect(text).toContain(example)
  })

  it('of the program names every command', async () => {
    const text = await shown('dist/man/dirtyrate.1')
    for (const command of commands)
      expect(text).toContain(`${command.name()} ${command.description()}`)
  })
})
