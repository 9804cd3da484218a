/**
 * Every block of the README with commands or a program, as it stands there, on a user's machine that has a registry on loopback; and of
 * each form of the command that it lists, that there is such a command with such options.
 */

import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { type Fence, programOf, programs, readme } from './docs.js'
import { registry, tarball, UserFolder } from './installed.js'

const text = readFileSync(join(root, 'README.md'), 'utf8')

/** What is typed, and what is printed after it. `console` has both; in `sh` every line is typed. */
function commandsOf({ language, text }: Fence): { line: string; output: string[] }[] {
  if (language === 'sh') return [{ line: text, output: [] }]
  return text
    .split(/^\$ /m)
    .slice(1)
    .map(part => {
      const [line = '', ...output] = part.split('\n')
      return { line, output }
    })
}

const commands = readme
  .filter(({ language }) => language === 'console' || language === 'sh')
  .flatMap(commandsOf)
/** The commands that the demo's output ends with. */
const further = [...text.matchAll(/^(?:Go on:)? +(dirtyrate .*)$/gm)].map(([, line = '']) => line)
/** `dirtyrate calc TARGET [--mode M]    what it does`, in a block of no language. */
const forms = readme
  .filter(({ language }) => language === '')
  .flatMap(({ text }) => [...text.matchAll(/^dirtyrate (\w+)(.*?) {2,}/gm)])
  .map(([form, command = '', options = '']) => ({
    form: form.trim(),
    command,
    options: options.match(/(?<=[\s[])--?[a-z-]+/g) ?? [],
  }))

/** What of a line does not change from run to run: figures do, and with them the width of columns. */
const lasting = (line: string): string =>
  line
    .replace(/\d[\d,.]*/g, 'N')
    .replace(/\s+/g, ' ')
    .trim()
/** Rows of figures, and what this machine's KVM can do. */
const OF_THE_RUN = /^ *(dirty-bitmap|page-sampling|dirty-ring) |^KVM /

const user = new UserFolder()
/** Has it from the beginning, and needs no KVM. */
const reader = new UserFolder()
beforeAll(() => reader.shell(`npm install --offline '${tarball('dirtyrate')}'`))
afterAll(() => {
  user.remove()
  reader.remove()
})
let online = true

/** What was packed elsewhere is carried to a machine that has nothing else. */
function carry(): void {
  for (const name of ['node_modules', 'package.json', 'package-lock.json', '../.npm']) {
    rmSync(join(user.project, name), { recursive: true, force: true })
  }
  online = false
}

describeKvm('commands', () => {
  it.each(commands)('$line', async ({ line, output }) => {
    if (line.includes('--offline')) carry()
    // The README says x64, and that it is arm64 on the other.
    const typed = line.replaceAll('linux-x64', `linux-${process.arch}`)
    const printed = await user.shell(typed, online ? { npm_config_registry: registry } : {})
    const lines = new Set(printed.split('\n').map(lasting))
    expect(output.filter(text => !OF_THE_RUN.test(text) && !lines.has(lasting(text)))).toEqual([])
  })

  it.each(further)('%s', async line => {
    const printed = await user.shell(`npx --offline ${line}`)
    expect(printed).toContain('MiB/s')
  })
})

it.each(forms)('the command has the form $form', async ({ command, options }) => {
  const help = await reader.shell(`npx --offline dirtyrate ${command} --help`)
  for (const option of options) expect(help).toMatch(new RegExp(`(^|[\\s,])${option}[\\s,]`))
})

// Of 4 GiB there are two blocks, and neither is called 'ram'.
describeKvm('programs', () => {
  it.each(programs.flatMap(fence => ['1GiB', '4GiB'].map(memory => ({ ...fence, memory }))))(
    '$file on a VM of $memory: $text',
    async ({ memory, ...fence }) => {
      user.write('program.mjs', programOf(fence, memory))
      expect(await user.run('node', ['program.mjs'])).toMatchObject({ status: 0, stderr: '' })
    },
  )
})

it('finds them', () => {
  expect(commands.map(({ line }) => line)).toContain('npm install dirtyrate')
  expect(further).toHaveLength(2)
  expect(forms.map(({ command }) => command)).toEqual([
    'capabilities',
    'demo',
    'calc',
    'curve',
    'watch',
    'guest',
  ])
  expect(forms.flatMap(({ options }) => options)).toContain('--windows')
  expect(programs.length).toBeGreaterThanOrEqual(3)
})
