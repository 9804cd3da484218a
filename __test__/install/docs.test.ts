/**
 * Runs every block of the README and of docs/ that has commands or a program, unchanged, on a
 * user's machine that has a registry on loopback. The output must be what the page shows. Each form
 * of the command that the README lists must exist.
 */

import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { type Fence, fences, lasting, lastingLines, pages, programOf, programs } from './docs.js'
import { platformPackage, registry, tarball, UserFolder } from './installed.js'

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

/** The commands of a page, and those that the demo's output ends with. */
function typedOn(page: string): ReturnType<typeof commandsOf> {
  const text = readFileSync(join(root, page), 'utf8')
  const further = [...text.matchAll(/^(?:Go on: {2}| {8})(dirtyrate .*)$/gm)].map(
    ([, line = '']) => line,
  )
  return [
    ...fences
      .filter(({ file, language }) => file === page && ['console', 'sh'].includes(language))
      .flatMap(commandsOf),
    ...further.map(line => ({ line: `npx --offline ${line}`, output: [] })),
  ]
}

const commands = pages
  .map(page => ({ page, typed: typedOn(page) }))
  .filter(({ typed }) => typed.length > 0)

/** `dirtyrate calc TARGET [--mode M]    what it does`, in a block of no language. */
const forms = fences
  .filter(({ language }) => language === '')
  .flatMap(({ text }) => [...text.matchAll(/^dirtyrate (\w+)(.*?) {2,}/gm)])
  .map(([form, command = '', options = '']) => ({
    form: form.trim(),
    command,
    options: options.match(/(?<=[\s[])--?[a-z-]+/g) ?? [],
  }))

/** Rows of figures, and what this machine's KVM can do. */
const OF_THE_RUN = /^ *(dirty-bitmap|page-sampling|dirty-ring) |^KVM /

/** Has the package from the beginning. */
const reader = new UserFolder()
beforeAll(() =>
  reader.shell(`npm install --offline '${tarball('dirtyrate')}' '${tarball(platformPackage)}'`),
)
afterAll(() => reader.remove())

describeKvm('commands', () => {
  describe.each(commands)('of $page', ({ typed }) => {
    const user = new UserFolder()
    // A page that says how to install begins with nothing.
    beforeAll(async () => {
      if (!typed.some(({ line }) => /^npm (install|pack) /.test(line))) {
        await user.shell('npm install dirtyrate', { npm_config_registry: registry })
      }
    })
    afterAll(() => user.remove())
    let carried = false

    /** What was packed elsewhere is carried to a machine that has nothing else. */
    function carry(): void {
      for (const name of ['node_modules', 'package.json', 'package-lock.json', '../.npm']) {
        rmSync(join(user.project, name), { recursive: true, force: true })
      }
      carried = true
    }

    it.each(typed)('$line', async ({ line, output }) => {
      if (line.startsWith('npm install --offline')) carry()
      // The pages say x64, and that it is arm64 on the other.
      const command = line.replaceAll('linux-x64', `linux-${process.arch}`)
      const printed = await user.shell(command, carried ? {} : { npm_config_registry: registry })
      const lines = new Set(printed.split('\n').map(lasting))
      expect(output.filter(text => !OF_THE_RUN.test(text) && !lines.has(lasting(text)))).toEqual([])
      if (line.includes(' dirtyrate ') && line.includes(':'))
        expect(printed).toMatch(/(MiB|pages)\/s/)
    })
  })
})

it.each(forms)('the command has the form $form', async ({ command, options }) => {
  const help = await reader.shell(`npx --offline dirtyrate ${command} --help`)
  for (const option of options) expect(help).toMatch(new RegExp(`(^|[\\s,])${option}[\\s,]`))
})

// A machine with 4 GiB has two blocks, and neither is called 'ram'.
describeKvm('programs', () => {
  it.each(programs.flatMap(fence => ['1GiB', '4GiB'].map(memory => ({ ...fence, memory }))))(
    '$file on a VM of $memory: $text',
    async ({ memory, prints, ...fence }) => {
      reader.write('program.mjs', programOf(fence, memory))
      const ended = await reader.run('node', ['program.mjs'])
      expect(ended).toMatchObject({ status: 0, stderr: '' })
      if (prints !== undefined) expect(lastingLines(ended.stdout)).toEqual(lastingLines(prints))
    },
  )
})

it('every block is a program, commands, or a text that is shown', () => {
  const others = fences.filter(
    ({ language }) => !['js', 'console', 'sh', 'text', ''].includes(language),
  )
  expect(others).toEqual([])
})

it('finds them', () => {
  const typed = commands.flatMap(({ typed }) => typed.map(({ line }) => line))
  expect(typed).toContain('npm install dirtyrate')
  expect(typed.filter(line => /^npx --offline dirtyrate (curve|watch)/.test(line))).toHaveLength(2)
  expect(forms.map(({ command }) => command)).toEqual([
    'capabilities',
    'demo',
    'calc',
    'curve',
    'predict',
    'plan',
    'watch',
    'heatmap',
    'top',
    'list',
    'doctor',
    'serve',
    'qmp',
    'guest',
    'compare',
    'audit',
  ])
  expect(forms.flatMap(({ options }) => options)).toContain('--windows')
  expect(programs.filter(({ prints }) => prints !== undefined).length).toBeGreaterThanOrEqual(8)
})
