/** What the help of the commands that measure says about their targets. */

import { expect, it } from 'vitest'
import { makeProgram } from '../../ts/cli/program.js'
import { EXAMPLES } from '../../ts/cli/target-help.js'
import { workloadKinds } from '../../ts/index.js'
import { schemes } from '../../ts/targets/open.js'
import { parseTargetUri } from '../../ts/targets/uri.js'
import { WORKLOADS } from '../../ts/targets/vm/options.js'
import { dirtyrate, run } from '../fixtures/command.js'
import { describeKvm } from '../fixtures/kvm.js'

const program = makeProgram(async () => {})

it.each(['calc', 'curve', 'watch'])(
  'of %s explains each workload, and has three examples',
  async command => {
    const { status, stdout } = await dirtyrate([command, '--help'])
    expect(status).toBe(0)
    expect(Object.keys(WORKLOADS)).toEqual([...workloadKinds])
    for (const kind of workloadKinds)
      expect(stdout).toMatch(new RegExp(`^ {2}${kind} +[a-z0-9]`, 'm'))
    expect(EXAMPLES[command]).toHaveLength(3)
    for (const example of EXAMPLES[command] ?? []) expect(stdout).toContain(`\n  ${example}\n`)
    // A switch is off unless it is given.
    expect(stdout).not.toContain('default: false')
  },
)

it.each(['calc', 'watch'])('of %s requires no target, because there is --all', async command => {
  const { stdout } = await dirtyrate([command, '--help'])
  expect(stdout).toContain(`Usage: dirtyrate ${command} [options] [--all] [target...]\n`)
})

it.each(Object.values(EXAMPLES).flat())('has an example of the right form: %s', example => {
  const [name, command, target = '', ...rest] = example.split(' ')
  const known = program.commands.find(each => each.name() === command)
  expect({ name, known: known !== undefined }).toEqual({ name: 'dirtyrate', known: true })
  const isNamed = target !== '' && !target.startsWith('--')
  // An example without a target is one of a command that needs none.
  if (!isNamed) expect(known?.registeredArguments.some(({ required }) => required)).toBe(false)
  else expect(schemes.map(scheme => scheme.name)).toContain(parseTargetUri(target).scheme)
  const options = [...(known?.options ?? []), ...program.options].map(({ long }) => long)
  for (const word of [target, ...rest].filter(word => word.startsWith('--')))
    expect(options).toContain(word)
})

describeKvm('an example', () => {
  const ending = [...(EXAMPLES.calc ?? []), ...(EXAMPLES.curve ?? [])].filter(line =>
    line.includes(' guest:'),
  )

  it.each(ending)('runs: %s', async example => {
    const line = example.replace('dirtyrate', '"$0" dist/cli.js').replace(/>\S+/, '')
    const { status, stdout, stderr } = await run('bash', ['-c', line, process.execPath])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/\d/)
  })
})
