/**
 * `dirtyrate predict`: whether a VM will migrate, and how large its next snapshot is, from a curve
 * that is measured now or was saved.
 */

import { setImmediate } from 'node:timers/promises'

import { argumentError } from '../ground/errors.js'
import { parseDuration } from '../ground/units.js'
import type { CurveOptions } from '../measurement/options.js'
import type { CurveInput } from '../prediction/curve-input.js'
import type { Verdict } from '../prediction/figure.js'
import { parseCurve } from '../prediction/input.js'
import { type MigrationPrediction, predict } from '../prediction/migration.js'
import { type MigrationOptions, parseMigrationOptions } from '../prediction/options.js'
import { predictSnapshotOf } from '../prediction/snapshot.js'
import { type Warning, warningCodes } from '../results/warning.js'
import type { Target } from '../targets/target.js'
import {
  type CurveMeasuringOptions,
  type CurvePlan,
  endIfInterrupted,
  measureCurve,
  parseCurvePlan,
  saveCurve,
} from './curve-measuring.js'
import { EXIT_OK, EXIT_STALLS, EXIT_UNCERTAIN } from './exit.js'
import { readCurveFile } from './predict/curve-file.js'
import { flagOf } from './predict/flag.js'
import { matrixOf, parseAxes } from './predict/matrix.js'
import { printMatrix, printPrediction, printSnapshot } from './predict/text.js'
import type { Session } from './session.js'
import { withTarget } from './target.js'
import { visible } from './text.js'

export interface PredictOptions extends CurveMeasuringOptions {
  curve?: string
  target?: string
  bandwidth: string
  downtime?: string
  profile?: string
  memory?: string
  deviceState?: string
  linkBandwidth?: string
  switchoverBandwidth?: string
  matrix: boolean
  snapshot?: string
  exitCode: boolean
}

/** Options that only one of the two questions has. */
const OF_MIGRATION = [
  ['downtime', '--downtime'],
  ['profile', '--profile'],
  ['deviceState', '--device-state'],
  ['linkBandwidth', '--link-bandwidth'],
  ['switchoverBandwidth', '--switchover-bandwidth'],
] as const

/** The windows for a prediction: the last passes are short, and the first one is long. */
const WINDOWS = ['50ms', '100ms', '200ms', '500ms', '1s', '2s', '5s', '10s'] as const

export async function runPredict(
  session: Session,
  uri: string | undefined,
  options: PredictOptions,
): Promise<number> {
  refuseCombinations(uri, options)
  // Mistakes in the options of the prediction are reported before anything is measured.
  const ask = questionOf(options)
  if (uri === undefined) {
    const document = await readCurveFile(
      options.curve ?? '',
      '--curve',
      session.signal,
      options.target,
    )
    return ask(session, parseCurve(document, '--curve'), warningsIn(document))
  }
  const plan = parseCurvePlan(options, uri)
  return withTarget(session, uri, plan, async target => {
    // How well the pages compress is one of the ways out.
    const more =
      options.snapshot === undefined
        ? { ...plan.more, compressibility: target.readsMemory }
        : { ...plan.more, ...granularitiesOf(target, plan) }
    // The target may have ended when its curve is there.
    const { memoryBytes } = await target.describe()
    const curve = await measureCurve(session, target, { ...plan, more }, windowsOf(options))
    const memory = curve.memory ?? { bytes: memoryBytes }
    let status: number
    try {
      status = await ask(session, parseCurve({ ...curve, memory }, 'the curve'), curve.warnings)
    } finally {
      await saveCurve(plan, curve)
    }
    endIfInterrupted(session, curve)
    return status
  })
}

/** The units that a snapshot may be stored in, beside the page. */
const GRANULARITIES = [2 ** 16, 2 ** 21]

/**
 * What a snapshot is predicted in, where the target knows which of its granules are dirty: in an
 * exact mode, if it knows the guest's addresses.
 */
export function granularitiesOf(
  { modes: [first], exactPageSize: pageSize }: Pick<Target, 'modes' | 'exactPageSize'>,
  { mode, more }: Pick<CurvePlan, 'mode' | 'more'>,
): Pick<CurveOptions, 'granularities'> {
  const isSampled = (mode.mode === 'auto' ? first : mode.mode) === 'page-sampling'
  if (pageSize === undefined || isSampled) return {}
  const given = more.granularities ?? []
  const usual = GRANULARITIES.filter(size => size % pageSize === 0)
  return { granularities: [...new Set([pageSize, ...usual, ...given])] }
}

/** The windows without --windows. The interval of a snapshot is one of them if it is short. */
function windowsOf({ snapshot }: PredictOptions): readonly string[] {
  const longest = parseDuration(WINDOWS.at(-1) ?? '', 'window')
  const isShort = snapshot !== undefined && parseDuration(snapshot, '--snapshot') < longest
  return isShort ? [...WINDOWS, snapshot] : WINDOWS
}

/** Answers a question about a curve, which was measured with these warnings. */
type Question = (
  session: Session,
  input: CurveInput,
  warnings: readonly Warning[],
) => Promise<number>

/** The warnings in a document, which may come from anywhere: those that are known here. */
function warningsIn(document: object): Warning[] {
  const given: unknown = 'warnings' in document ? document.warnings : []
  return (Array.isArray(given) ? given : []).flatMap((one: unknown) => {
    const { code, message } = Object(one) as Partial<Warning>
    const isKnown = code !== undefined && warningCodes.includes(code)
    return isKnown && typeof message === 'string' ? [{ code, message }] : []
  })
}

/** Prints the document, and in the text the warnings below it. */
function finish(session: Session, document: object, warnings: readonly Warning[]): void {
  for (const { code, message } of warnings) session.field('warning', `${code}: ${visible(message)}`)
  session.document({ ...document, warnings })
}

/** What is asked of a curve, with its options checked. */
function questionOf(options: PredictOptions): Question {
  if (options.snapshot !== undefined)
    return async (session, input, warnings) => snapshot(session, input, options, warnings)
  if (options.matrix) {
    const axes = parseAxes(options)
    return async (session, input, warnings) => {
      const made = await matrixOf(input, migrationOptions(options), axes, flagOf, (rows, all) =>
        betweenRows(session, rows, all),
      )
      printMatrix(session, made)
      finish(session, made, warnings)
      return EXIT_OK
    }
  }
  const wanted = parseMigrationOptions(migrationOptions(options), flagOf)
  return async (session, input, warnings) => {
    const prediction = predict(input, wanted)
    printPrediction(session, prediction)
    finish(session, prediction, warnings)
    return status(prediction, options)
  }
}

/** Shows how far a matrix is, and lets a signal end the command. */
async function betweenRows(session: Session, rows: number, all: number): Promise<void> {
  session.progress(`predicting, ${rows} of ${all} downtimes done`)
  await setImmediate()
  session.signal.throwIfAborted()
}

/** What the command line has for `predictMigration`. */
function migrationOptions(options: PredictOptions): MigrationOptions {
  const { bandwidth, downtime = '', profile, memory, deviceState } = options
  const { linkBandwidth, switchoverBandwidth } = options
  return { bandwidth, downtime, profile, memory, deviceState, linkBandwidth, switchoverBandwidth }
}

/** The options that are about measuring, each with its flag. */
const OF_MEASURING = [
  ['windows', '--windows'],
  ['repeat', '--repeat'],
  ['for', '--for'],
  ['save', '--save'],
  ['samplePages', '--sample-pages'],
  ['delay', '--delay'],
  ['untilConsole', '--until-console'],
  ['consoleTimeout', '--console-timeout'],
  ['confidence', '--confidence'],
  ['interval', '--interval'],
  ['design', '--design'],
  ['seed', '--seed'],
] as const

function refuseCombinations(uri: string | undefined, options: PredictOptions): void {
  const { curve, downtime, snapshot, granularity, matrix, exitCode } = options
  if (curve === undefined && uri === undefined) {
    throw argumentError(
      'there is neither a target nor --curve',
      'Give the target to measure, or the file of a curve: dirtyrate curve TARGET --save FILE.',
    )
  }
  if (curve !== undefined) {
    const given = OF_MEASURING.find(([name]) => options[name] !== undefined)?.[1]
    const isForced = options.force ? '--force' : undefined
    const flag = given ?? (options.mode === 'auto' ? isForced : '--mode')
    if (uri !== undefined || flag !== undefined) {
      throw argumentError(
        `--curve: it cannot be combined with ${flag ?? 'a target'}`,
        'Give the target, or the curve that was measured before.',
      )
    }
  }
  if (options.target !== undefined && curve === undefined) {
    throw argumentError(
      '--target: it is for the --curve of a recording',
      'Give the target alone, to measure it.',
    )
  }
  const listed = [
    ['--bandwidth', options.bandwidth],
    ['--downtime', downtime],
  ].find(([, value]) => value?.includes(','))
  if (listed !== undefined && !matrix) {
    throw argumentError(
      `${listed[0]}: several values are for --matrix`,
      'Give one of them, or --matrix too.',
    )
  }
  if (matrix && exitCode) {
    throw argumentError(
      '--exit-code: it is not for --matrix, whose cells have a verdict each',
      'Leave out one of the two.',
    )
  }
  if (snapshot === undefined) {
    if (granularity !== undefined)
      throw argumentError('--granularity: it is for --snapshot only', 'Leave it out.')
    if (downtime === undefined) {
      throw argumentError(
        '--downtime: it is missing',
        'Give how long the guest may stand still: --downtime 300ms; or --snapshot 5min.',
      )
    }
    return
  }
  const given = OF_MIGRATION.find(([name]) => options[name] !== undefined)?.[1]
  const flag = given ?? (matrix ? '--matrix' : exitCode ? '--exit-code' : undefined)
  if (flag !== undefined)
    throw argumentError(`${flag}: it is not for --snapshot`, 'Leave out one of the two.')
}

function snapshot(
  session: Session,
  input: CurveInput,
  { snapshot: interval = '', bandwidth, granularity, memory }: PredictOptions,
  warnings: readonly Warning[],
): number {
  const wanted = { interval, bandwidth, granularity, memory }
  const prediction = predictSnapshotOf(input, wanted, option =>
    option === 'interval' ? '--snapshot' : flagOf(option),
  )
  printSnapshot(session, prediction, (input.points.at(-1)?.seconds ?? 0) * 1000)
  finish(session, { snapshot: prediction }, warnings)
  return EXIT_OK
}

const STATUS: Readonly<Record<Verdict, number>> = {
  converges: EXIT_OK,
  stalls: EXIT_STALLS,
  uncertain: EXIT_UNCERTAIN,
}

function status({ verdict }: MigrationPrediction, { exitCode }: PredictOptions): number {
  return exitCode ? STATUS[verdict] : EXIT_OK
}
