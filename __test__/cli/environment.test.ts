/**
 * On a machine without the prerequisites, the command and npm start say so in a line or two, with
 * status 3.
 */

import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cli, root, run } from '../fixtures/command.js'
import { folder } from '../fixtures/elf.js'
import { describeKvm } from '../fixtures/kvm.js'

const start = `${root}/scripts/start.mjs`

/**
 * In a mount namespace of its own /dev/kvm can be anything; that needs root. `as`: a command that
 * runs the program.
 */
const inNamespace = (setup: string, program: readonly string[], as = ''): ReturnType<typeof run> =>
  run('unshare', [
    '--mount',
    'bash',
    '-c',
    `${setup} && exec ${as} "$@"`,
    'bash',
    process.execPath,
    ...program,
  ])
const namespaces = spawnSync('unshare', ['--mount', 'true']).status === 0

const withoutKvm = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3'
const notKvm = 'mount --bind /dev/null /dev/kvm'
/** Root may open anything: this one gives up the capabilities that let it. */
const notPermitted = `${withoutKvm} && mknod -m 0 /dev/kvm c 10 232`
const asNobody = 'setpriv --bounding-set=-dac_override,-dac_read_search'

function expectTold(ended: Awaited<ReturnType<typeof run>>, text: RegExp): void {
  expect({ status: ended.status, stdout: ended.stdout }).toEqual({ status: 3, stdout: '' })
  expect(ended.stderr).toMatch(text)
  expect(ended.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2)
}

const describeNamespaces = namespaces
  ? describeKvm
  : (name: string, tests: () => void) =>
      describe.skip(`${name} (skipped: no permission to make a mount namespace)`, tests)

describeNamespaces('without KVM', () => {
  it('npm start says so before it builds anything', async () => {
    expectTold(await inNamespace(withoutKvm, [start]), /^dirtyrate: \/dev\/kvm does not exist/)
  })

  it('the command says so', async () => {
    expectTold(
      await inNamespace(withoutKvm, [cli, 'demo']),
      /^dirtyrate: \/dev\/kvm does not exist/,
    )
    expectTold(await inNamespace(notKvm, [cli, 'demo']), /^dirtyrate: \/dev\/kvm is not KVM/)
    const json = await inNamespace(withoutKvm, [cli, 'demo', '--json'])
    expect(json).toMatchObject({ status: 3, stderr: '' })
    expect(JSON.parse(json.stdout).error.code).toBe('ERR_KVM_ABSENT')
  })

  it('or without permission for it, both say what to do', async () => {
    expectTold(
      await inNamespace(notPermitted, [cli, 'demo'], asNobody),
      /no permission to open \/dev\/kvm.*\nRun as root, or as a user who may/,
    )
    expectTold(
      await inNamespace(notPermitted, [start], asNobody),
      /no permission to open \/dev\/kvm\.\nRun as root, or as a user who may/,
    )
  })
})

describe('without a prerequisite', () => {
  /** A PATH with these programs only. */
  const only = (...programs: string[]): NodeJS.ProcessEnv => {
    const bin = join(dirname(folder()('x', '')), 'bin')
    mkdirSync(bin)
    for (const program of programs) {
      const found = (process.env.PATH ?? '').split(':').map(path => join(path, program))
      const path = found.find(candidate => spawnSync(candidate, ['--version']).status === 0)
      if (path !== undefined) symlinkSync(path, join(bin, program))
    }
    return { PATH: bin }
  }
  const setup = `${root}/scripts/setup.mjs`

  it('the set-up says which, and how to get it', async () => {
    expectTold(
      await run(process.execPath, [setup], { env: only('cc') }),
      /^dirtyrate: cargo is missing.*rustup/,
    )
    const neither = await run(process.execPath, [setup], { env: only() })
    expect(neither.status).toBe(3)
    expect(neither.stderr).toMatch(/cargo is missing.*\n.*C linker.*build-essential/)
  })

  it('an old Node is told before anything is run', async () => {
    const old = `
      Object.defineProperty(process.versions, 'node', { value: '18.20.0' })
      await import(${JSON.stringify(setup)}).then(({ setUp }) => setUp())
    `
    const ended = await run(process.execPath, ['--input-type=module', '--eval', old])
    expectTold(ended, /^dirtyrate: Node 20\.19 or later is needed; this is 18\.20\.0/)
  })
})
