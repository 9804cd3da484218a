/** Every command and every program of the README, as it stands there, on a user's machine that has a registry on loopback. */

import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { root } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'
import { registry, UserFolder } from './installed.js'

interface Fence {
  language: string
  text: string
}

const readme = readFileSync(join(root, 'README.md'), 'utf8')
const fences: Fence[] = [...readme.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(
  ([, language = '', text = '']) => ({ language, text }),
)

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

const commands = fences
  .filter(({ language }) => language === 'console' || language === 'sh')
  .flatMap(commandsOf)
const programs = fences.filter(({ language }) => language === 'js')

const user = new UserFolder()
afterAll(() => user.remove())
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
    // Figures change from run to run; the rest of a sample is what is printed today.
    const lines = new Set(printed.split('\n').map(text => text.trimEnd()))
    const gone = output.filter(text => !/\d/.test(text) && !lines.has(text))
    expect(gone).toEqual([])
  })
})

/** What goes on from the first program goes on with its VM. */
const around = (program: string): string =>
  /^import /m.test(program)
    ? program
    : `import { VirtualMachine, workload } from 'dirtyrate'
const vm = await VirtualMachine.create({ memory: '1GiB' })
try {
  await vm.load(workload.stride({ pages: 1000, rate: '10MiB/s' }))
  await vm.start()
${program}
} finally {
  await vm.close()
}
`

describeKvm('programs', () => {
  it.each(programs)('$text', async ({ text }) => {
    user.write('program.mjs', around(text))
    expect(await user.run('node', ['program.mjs'])).toMatchObject({ status: 0, stderr: '' })
  })
})

it('finds them', () => {
  expect(commands.map(({ line }) => line)).toContain('npm install dirtyrate')
  expect(programs.length).toBeGreaterThanOrEqual(3)
})
