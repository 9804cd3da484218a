/** What is wrong with measurements of a process of memory.c while a call fails. */

import { constants } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import { errorCodes } from '../../ts/index.js'
import type { Fault } from './cases.js'
import { callsMade, type MemoryLives, type ProcessLife, type ProcessOutcome } from './process.js'
import { SHORT } from './process-cases.js'

const PATIENCE_MS = 60_000

const { EACCES, EAGAIN, EMFILE, ENFILE, EPERM } = constants.errno

const errnoName = (errno: number): string =>
  errno === SHORT
    ? 'short'
    : (Object.entries(constants.errno).find(([, number]) => number === errno)?.[0] ?? `${errno}`)

const describeFault = ({ call, errno, at, times }: Fault): string =>
  `${call} ${errnoName(errno)} at ${at} ${times === 0 ? 'for ever' : `times ${times}`}`

/** What the errors call a call, where the fault has another name for it; see shim.c. */
const SPELLED: Readonly<Record<string, string>> = {
  fcntl: 'fcntl(F_DUPFD_CLOEXEC)',
  ioctl: 'PAGEMAP_SCAN',
  opendir: 'open',
  stat: 'fstat',
}

/** The name of the call that fails, as an error about it must give it. */
function callOf({ call }: Fault): string {
  const [verb] = call.split(' ')
  return SPELLED[verb as string] ?? (verb as string)
}

/** The code that an errno must have, wherever a call on the process has it. */
function codeOfErrno({ call, errno }: Fault): string | undefined {
  if (errno === EMFILE || errno === ENFILE) return 'ERR_LIMIT'
  // The lock on clear_refs, which another measurement has.
  if (call === 'flock' && errno === EAGAIN) return 'ERR_MEASURING'
  const isAsked =
    call === 'pidfd_open' || call === 'process_vm_readv' || /^open(dir)? (?!mem)/.test(call)
  return isAsked && (errno === EPERM || errno === EACCES) ? 'ERR_TARGET_PERMISSION' : undefined
}

/**
 * What is wrong with an outcome; nothing, if all is as it must be. The process writes `written`
 * pages again and again.
 */
function faultsOf(
  outcome: ProcessOutcome,
  unbroken: ProcessOutcome,
  written: number,
  fault?: Fault,
): string[] {
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
    if (fault && details?.call !== undefined && details.call !== callOf(fault))
      wrong.push(`the call is not ${callOf(fault)} but ${details.call}: ${text}`)
    if (expected !== undefined && code !== expected) wrong.push(`not ${expected}: ${text}`)
    if (code === 'ERR_LIMIT' && typeof details?.limit !== 'string') wrong.push(`no limit: ${text}`)
  }
  for (const { pages, complete, isBusy } of outcome.results) {
    if (pages > written) wrong.push(`too many: ${pages} pages of ${written}`)
    if (complete && isBusy && pages < written) wrong.push(`too few: ${pages} pages of ${written}`)
  }
  const { statistics } = outcome
  if (statistics && !isDeepStrictEqual(statistics, unbroken.statistics))
    wrong.push(`wrong statistics: ${JSON.stringify(statistics)}`)
  if (outcome.descriptors > unbroken.descriptors)
    wrong.push(`left open: ${outcome.descriptors} files in place of ${unbroken.descriptors}`)
  return wrong
}

/** What came of all cases. */
export interface CaseResults {
  /** In words, what is wrong with each. */
  readonly wrong: string[]
  /** The calls of the cases that are made at all. */
  readonly calls: readonly string[]
  /** How many results were surely of a process that wrote all of its pages in the window. */
  readonly busy: number
}

/**
 * Measures a process that writes `written` pages again and again, first as it is, and then with
 * each of the faults.
 */
export async function runCases(
  lives: MemoryLives,
  life: ProcessLife,
  cases: readonly Fault[],
  written: number,
): Promise<CaseResults> {
  const unbroken = await lives.run(life, PATIENCE_MS)
  const { errors, results } = unbroken
  if (errors.length > 0 || results.length !== 2)
    return { wrong: [`without a fault: ${JSON.stringify(unbroken)}`], calls: [], busy: 0 }
  const wrong = faultsOf(unbroken, unbroken, written).map(what => `without a fault: ${what}`)
  const live = (fault: Fault): Promise<ProcessOutcome> => lives.run({ ...life, fault }, PATIENCE_MS)
  const made = await callsMade(cases, live)
  let busy = 0
  for (const fault of cases) {
    try {
      const outcome = await live(fault)
      if (made.missed(fault, outcome)) wrong.push(`${describeFault(fault)}: did not fail`)
      busy += outcome.results.filter(({ isBusy }) => isBusy).length
      const of = faultsOf(outcome, unbroken, written, fault)
      wrong.push(...of.map(what => `${describeFault(fault)}: ${what}`))
    } catch (error) {
      wrong.push(`${describeFault(fault)}: ${(error as Error).message}`)
    }
  }
  return { wrong, calls: made.calls, busy }
}
