/** Compares the table of rights with what this kernel does, for readers of each kind. */

import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  capabilitiesOf,
  mendFor,
  RIGHTS,
  type RightName,
  rightOf,
} from '../../../ts/targets/process/rights.js'
import { root, run } from '../../fixtures/command.js'

const { importTypeScript }: { importTypeScript(file: string): Promise<unknown> } = await import(
  join(root, 'scripts/build/import-typescript.mjs')
)

const isRoot = process.getuid?.() === 0
const NOBODY = 65_534
const as = (uid: number): string[] => [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
const ambient = (list: string): string[] => [`--inh-caps=${list}`, `--ambient-caps=${list}`]
const without = (...names: string[]): string[] =>
  ['bounding-set', 'inh-caps'].map(set => `--${set}=${names.map(name => `-${name}`).join(',')}`)

/** Says what this process can open of another one, and by which row of the table. */
const LOOK = `
  const { closeSync, openSync } = await import('node:fs')
  const { rightOf, subjectOf, thisReader } = await import('${root}/target/import-typescript/rights.mjs')
  const pid = Number(process.argv[1])
  const opens = name => {
    try {
      closeSync(openSync('/proc/' + pid + '/' + name, 'r'))
      return true
    } catch (error) {
      if (error.code !== 'EACCES' && error.code !== 'EPERM') throw error
      return false
    }
  }
  const found = { maps: opens('maps'), memory: opens('mem'), pagemap: opens('pagemap') }
  console.log(JSON.stringify({ right: rightOf(thisReader(), subjectOf(pid)), found }))
`

describe.skipIf(!isRoot)('the table of rights (only root can become each kind of reader)', () => {
  const subjects: Record<string, ChildProcess> = {}
  beforeAll(async () => {
    // The program is compiled to JavaScript first, because a user who may only read cannot do that.
    await importTypeScript('ts/targets/process/rights.ts')
    subjects.root = spawn('sleep', ['1000'])
    subjects.nobody = spawn('setpriv', [...as(NOBODY), 'sleep', '1000'])
  })
  afterAll(() => {
    for (const child of Object.values(subjects)) child.kill('SIGKILL')
  })

  it.each<[RightName, string, string[]]>([
    ['root', 'root', []],
    ['root', 'nobody', []],
    ['rootOfContainer', 'nobody', without('sys_ptrace', 'perfmon', 'sys_admin')],
    ['privileged', 'root', without('sys_ptrace', 'perfmon', 'sys_admin')],
    ['sameUser', 'nobody', as(NOBODY)],
    ['otherUser', 'root', as(NOBODY)],
    ['otherUser', 'nobody', as(NOBODY - 1)],
    ['ptrace', 'root', [...as(NOBODY), ...ambient('+sys_ptrace')]],
    ['ptraceAndRead', 'root', [...as(NOBODY), ...ambient('+sys_ptrace,+dac_read_search')]],
  ])('has the row %s for a process of %s, as this kernel does', async (right, subject, reader) => {
    const look = [process.execPath, '--input-type=module', '--eval', LOOK]
    const { stdout, stderr } = await run('setpriv', [
      ...reader,
      ...look,
      String(subjects[subject]?.pid),
    ])
    expect(stderr).toBe('')
    const said = JSON.parse(stdout)
    const { files: _, ...access } = RIGHTS[right].access
    // The file `mem` needs the right to open it as well, which process_vm_readv(2) does not.
    const memory = right === 'ptrace' ? false : access.memory
    expect(said).toEqual({ right, found: { ...access, memory } })
  })
})

it('a row that is not enough says what to do', () => {
  for (const { access, mend } of Object.values(RIGHTS)) {
    const isEnough = access.maps && access.memory && access.pagemap
    expect(mend === undefined).toBe(isEnough)
  }
})

it('ptrace_scope closes memory to its own user, and 3 to all', () => {
  const subject = { uid: 1000, dumpable: true, privileged: false }
  const user = { uid: 1000, capabilities: [] }
  const admin = { uid: 0, capabilities: ['CAP_SYS_PTRACE'] as const }
  const rows = [0, 1, 2, 3].map(ptraceScope => [
    rightOf({ ...user, ptraceScope }, subject),
    rightOf({ ...admin, ptraceScope }, subject),
  ])
  expect(rows).toEqual([
    ['sameUser', 'root'],
    ['scope', 'root'],
    ['scope', 'root'],
    ['closedScope', 'closedScope'],
  ])
  const closed = { ...subject, dumpable: false }
  expect(rightOf({ ...user, ptraceScope: 0 }, closed)).toBe('notDumpable')
})

it('what helps is what the row says, and root is sent neither to root nor to the user', () => {
  const subject = { uid: 1000, dumpable: true, privileged: false }
  const reader = { uid: 1001, capabilities: [], ptraceScope: 0 }
  expect(mendFor(reader, subject)).toContain('CAP_SYS_PTRACE with CAP_DAC_READ_SEARCH')
  expect(mendFor({ ...reader, uid: 1000, ptraceScope: 1 }, subject)).toContain('ptrace_scope=0')
  expect(mendFor({ ...reader, ptraceScope: 3 }, subject)).toContain('boot again')
  // A process may end before anybody asks whose it was.
  expect(mendFor(reader, undefined)).toBe(mendFor(reader, subject))
  const root = { ...reader, uid: 0, capabilities: ['CAP_SYS_PTRACE'] as const }
  expect(mendFor(root, subject)).toMatch(/^A security module/)
  expect(mendFor({ ...reader, uid: 1000 }, subject)).toBe(
    'Run it as root: sudo npx dirtyrate. Or run it as the user of the VM',
  )
})

it('the capabilities are those bits that capabilities(7) has for them', () => {
  expect(capabilitiesOf(0n)).toEqual([])
  expect(capabilitiesOf(1n << 19n)).toEqual(['CAP_SYS_PTRACE'])
  expect(capabilitiesOf((1n << 40n) | 0b110n)).toEqual([
    'CAP_DAC_OVERRIDE',
    'CAP_DAC_READ_SEARCH',
    'CAP_CHECKPOINT_RESTORE',
  ])
})
