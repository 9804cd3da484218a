/**
 * The commands of QEMU's human monitor about the dirty rate: `calc_dirty_rate`, `info dirty_rate`
 * and their help, line for line. Lines end in CR LF, as on QEMU's connection. The `(ms)` after the
 * start time is a mistake of QEMU (the value is in seconds), which is kept because scripts look for
 * it.
 */

import { parseObject, show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { infoInUnit } from './arithmetic.js'
import { HmpReader, HmpSyntaxError } from './hmp-expression.js'
import type { CalcDirtyRateArguments, DirtyRateInfo, QueryDirtyRateArguments } from './types.js'

/** The part of a target that the monitor needs. */
export interface HmpTarget {
  /** What `calc_dirty_rate` calls. */
  calcDirtyRate(args: CalcDirtyRateArguments): Promise<void>
  /** What `info dirty_rate` calls. */
  queryDirtyRate(args?: QueryDirtyRateArguments): Promise<DirtyRateInfo>
}

const CALC = 'calc_dirty_rate'
const INFO = 'dirty_rate'

const HELP_CALC = [
  'calc_dirty_rate [-r] [-b] second [sample_pages_per_GB] -- start a round of guest dirty rate measurement (using -r to',
  '\t\t\t specify dirty ring as the method of calculation and',
  '\t\t\t -b to specify dirty bitmap as method of calculation)',
]
const HELP_INFO = ['info dirty_rate  -- show dirty rate information']

/**
 * Runs one command line on `target` and resolves with what QEMU's monitor prints. A command that is
 * refused does not reject the promise. Rejects with ERR_ARGUMENT if `commandLine` is no string.
 *
 * @example
 * ```ts
 * import { humanMonitorCommand, openTarget } from 'dirtyrate'
 *
 * const target = await openTarget('guest:stride,rate=100MiB/s')
 * try {
 *   console.log(await humanMonitorCommand(target, 'calc_dirty_rate -b 1'))
 *   await new Promise(resolve => setTimeout(resolve, 1500))
 *   console.log(await humanMonitorCommand(target, 'info dirty_rate'))
 * } finally {
 *   await target.close()
 * }
 * ```
 */
export async function humanMonitorCommand(target: HmpTarget, commandLine: string): Promise<string> {
  parseObject(target, 'target', 'a virtual machine')
  if (typeof commandLine !== 'string')
    throw argumentError(`commandLine: ${show(commandLine)} is not a string`)
  const lines = await run(target, commandLine)
  return lines.map(line => `${line}\r\n`).join('')
}

/** The lines of `info dirty_rate`, from an answer of query-dirty-rate with its time in seconds. */
export function dirtyRateLines(info: DirtyRateInfo): string[] {
  const rate = info['dirty-rate']
  const vcpus = info['vcpu-dirty-rate'] ?? []
  return [
    `Status: ${info.status}`,
    `Start Time: ${info['start-time']} (ms)`,
    ...(info.mode === 'page-sampling' ? [`Sample Pages: ${info['sample-pages']} (per GB)`] : []),
    `Period: ${info['calc-time']} (sec)`,
    `Mode: ${info.mode}`,
    `Dirty rate: ${rate === undefined ? '(not ready)' : `${rate} (MB/s)`}`,
    ...vcpus.map(vcpu => `vcpu[${vcpu.id}], Dirty rate: ${vcpu['dirty-rate']} (MB/s)`),
  ]
}

/** {@link dirtyRateLines} for an answer with its time in milliseconds. */
export function dirtyRateLinesOfMs(info: DirtyRateInfo): string[] {
  return dirtyRateLines(infoInUnit(info, 'second'))
}

/** The first word of `text`, and what follows it. */
function split(text: string): { word: string; rest: string } {
  const [, word = '', rest = ''] = /^\s*(\S*)(.*)$/s.exec(text) ?? []
  return { word, rest }
}

async function run(target: HmpTarget, commandLine: string): Promise<string[]> {
  const { word, rest } = split(commandLine)
  switch (word) {
    case '':
      return []
    case CALC:
      return withSyntax(CALC, () => calc(target, rest))
    case 'info': {
      const info = split(rest)
      if (info.word === '') return HELP_INFO
      if (info.word !== INFO) return [`unknown command: 'info ${info.word}'`]
      return withSyntax(`info ${INFO}`, async () => {
        new HmpReader(INFO, info.rest).end()
        return dirtyRateLines(await target.queryDirtyRate())
      })
    }
    case 'help':
    case '?':
      return help(rest)
    default:
      return [`unknown command: '${word}'`]
  }
}

function help(text: string): string[] {
  const { word, rest } = split(text)
  switch (word) {
    case '':
      return [...HELP_CALC, ...HELP_INFO]
    case CALC:
      return HELP_CALC
    case 'info': {
      const info = split(rest).word
      return info === '' || info === INFO ? HELP_INFO : [`unknown command: 'info ${info}'`]
    }
    default:
      return [`unknown command: '${word}'`]
  }
}

async function calc(target: HmpTarget, text: string): Promise<string[]> {
  const reader = new HmpReader(CALC, text)
  const ring = reader.flag('r', 'b')
  const bitmap = reader.flag('b', '')
  const seconds = Number(reader.integer())
  const samples = reader.optionalInteger()
  reader.end()
  if (seconds === 0) return ['Incorrect period length specified!']
  if (ring && bitmap) return ['Either dirty ring or dirty bitmap can be specified!']
  await target.calcDirtyRate({
    'calc-time': seconds,
    mode: bitmap ? 'dirty-bitmap' : ring ? 'dirty-ring' : 'page-sampling',
    // QEMU's monitor uses -1 if none was given.
    ...(samples === undefined || samples === -1n ? {} : { 'sample-pages': Number(samples) }),
  })
  return [
    `Starting dirty rate measurement with period ${seconds} seconds`,
    "[Please use 'info dirty_rate' to check results]",
  ]
}

/**
 * The lines of `command`, or the monitor's error if the line cannot be read or the command is
 * refused.
 */
async function withSyntax(command: string, lines: () => Promise<string[]>): Promise<string[]> {
  try {
    return await lines()
  } catch (error) {
    if (error instanceof HmpSyntaxError) {
      const advice = `Try "help ${command}" for more information`
      const [shown = '', ...cut] = error.message.split('\0')
      // In C a NUL ends the text, and so cuts off the end of this line too.
      return cut.length > 0 ? [shown + advice] : [shown, advice]
    }
    return [`Error: ${(error as Error).message}`]
  }
}
