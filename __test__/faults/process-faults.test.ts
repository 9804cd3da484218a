/**
 * Makes each call of the kernel that measures another process fail. Nothing may hang, no figure may
 * be wrong, no error may say of a process that runs that it has ended or is stopped, and nothing
 * may stay open.
 */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { errorCodes } from '../../ts/index.js'
import { full } from '../fixtures/kvm.js'
import type { Fault } from './cases.js'
import { callsMade, Lives, type ProcessLife, type ProcessOutcome, Shim } from './process.js'
import { allProcessFaults, fewProcessFaults, SHORT } from './process-cases.js'

const PATIENCE = 60_000
const PAGES = 16_384
/** memory.c writes half of its pages again and again, and never the other half. */
const WRITTEN = PAGES / 2

const { EACCES, EMFILE, ENFILE, EPERM } = constants.errno

const errnoName = (errno: number): string =>
  errno === SHORT
    ? 'short'
    : (Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `${errno}`)

const describeFault = ({ call, errno, at, times }: Fault): string =>
  `${call} ${errnoName(errno)} at ${at} ${times === 0 ? 'for ever' : `times ${times}`}`

/** The code that an errno must have, wherever a call on the process has it. */
function codeOfErrno({ call, errno }: Fault): string | undefined {
  if (errno === EMFILE || errno === ENFILE) return 'ERR_LIMIT'
  const isAsked = call === 'pidfd_open' || call === 'process_vm_readv' || /^open (?!mem)/.test(call)
  return isAsked && (errno === EPERM || errno === EACCES) ? 'ERR_TARGET_PERMISSION' : undefined
}

/** What is wrong with an outcome; nothing, if all is as it must be. */
function faultsOf(outcome: ProcessOutcome, unbroken: ProcessOutcome, fault?: Fault): string[] {
  const wrong: string[] = []
  for (const { step, name, code, message, hint, details } of outcome.errors) {
    const text = `${step}: ${name} ${code}: ${message}`
    const expected = fault && codeOfErrno(fault)
    // The statistics are read by the binding itself, whose errors have a code and no hint.
    const isOfBinding = step === 'statistics'
    if ((name !== 'DirtyRateError' && !isOfBinding) || !errorCodes.includes(code as never)) {
      wrong.push(`no code: ${text}`)
      continue
    }
    if (isOfBinding) continue
    if (!message || !hint || !/^[A-Z].*[.)]$/.test(hint))
      wrong.push(`no message or hint: ${text}: ${hint}`)
    if (code === 'ERR_INTERNAL') wrong.push(`a defect: ${text}`)
    if (code === 'ERR_TARGET_GONE' || code === 'ERR_PAUSED') wrong.push(`the process runs: ${text}`)
    if (expected !== undefined && code !== expected) wrong.push(`not ${expected}: ${text}`)
    if (code === 'ERR_LIMIT' && typeof details?.limit !== 'string') wrong.push(`no limit: ${text}`)
  }
  for (const { pages, complete, isBusy } of outcome.results) {
    if (pages > WRITTEN) wrong.push(`too many: ${pages} pages of ${WRITTEN}`)
    if (complete && isBusy && pages < WRITTEN) wrong.push(`too few: ${pages} pages of ${WRITTEN}`)
  }
  const { statistics } = outcome
  if (statistics && !isDeepStrictEqual(statistics, unbroken.statistics))
    wrong.push(`wrong statistics: ${JSON.stringify(statistics)}`)
  if (outcome.descriptors > unbroken.descriptors)
    wrong.push(`left open: ${outcome.descriptors} files in place of ${unbroken.descriptors}`)
  return wrong
}

describe.skipIf(process.platform !== 'linux')('a call on another process that fails', () => {
  const folder = mkdtempSync(join(tmpdir(), 'dirtyrate-measured-'))
  let shim: Shim
  let lives: Lives<ProcessLife, ProcessOutcome>
  beforeAll(() => {
    shim = new Shim()
    const program = join(folder, 'memory')
    const source = fileURLToPath(new URL('memory.c', import.meta.url))
    execFileSync('cc', ['-O1', '-Wall', '-Werror', '-o', program, source])
    lives = new Lives(shim, 'process-driver.mjs', [program, folder, String(PAGES)])
  })
  afterAll(() => {
    lives?.end()
    shim?.remove()
    rmSync(folder, { recursive: true, force: true })
  })

  const cases = full ? allProcessFaults() : fewProcessFaults()
  it.each(['private', 'shared'] as const)(
    `leaves no hang, no wrong figure, no riddle: ${cases.length} faults, %s memory`,
    {
      timeout: full ? 3_600_000 : 300_000,
    },
    async kind => {
      const unbroken = await lives.run({ kind }, PATIENCE)
      expect(unbroken).toMatchObject({ errors: [] })
      expect(unbroken.results).toHaveLength(2)
      expect(faultsOf(unbroken, unbroken)).toEqual([])
      const made = await callsMade(cases, fault => lives.run({ kind, fault }, PATIENCE))
      const readsMemory = { private: 'process_vm_readv', shared: 'pread memory' }[kind]
      expect(made.calls).toEqual(expect.arrayContaining(['pidfd_open', 'open maps', readsMemory]))
      const wrong: string[] = []
      for (const fault of cases) {
        try {
          const outcome = await lives.run({ kind, fault }, PATIENCE)
          if (made.missed(fault, outcome)) wrong.push(`${describeFault(fault)}: did not fail`)
          const of = faultsOf(outcome, unbroken, fault)
          wrong.push(...of.map(what => `${describeFault(fault)}: ${what}`))
        } catch (error) {
          wrong.push(`${describeFault(fault)}: ${(error as Error).message}`)
        }
      }
      expect(wrong).toEqual([])
    },
  )
})
