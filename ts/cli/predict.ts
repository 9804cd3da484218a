/**
 * `dirtyrate predict --curve FILE`: whether a VM will migrate, and how large its next snapshot is.
 */

import { argumentError } from '../ground/errors.js'
import type { Verdict } from '../prediction/figure.js'
import { type CurveInput, parseCurve } from '../prediction/input.js'
import { type MigrationPrediction, predict } from '../prediction/migration.js'
import { type MigrationOptions, parseMigrationOptions } from '../prediction/options.js'
import { predictSnapshotOf } from '../prediction/snapshot.js'
import { EXIT_OK, EXIT_STALLS, EXIT_UNCERTAIN } from './exit.js'
import { readCurveFile } from './predict/curve-file.js'
import { type MatrixAxes, matrixOf, parseAxes } from './predict/matrix.js'
import { printMatrix, printPrediction, printSnapshot } from './predict/text.js'
import type { Session } from './session.js'

export interface PredictOptions {
  curve?: string
  bandwidth: string
  downtime?: string
  profile?: string
  memory?: string
  deviceState?: string
  linkBandwidth?: string
  switchoverBandwidth?: string
  matrix: boolean
  snapshot?: string
  granularity?: string
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

export async function runPredict(session: Session, options: PredictOptions): Promise<number> {
  refuseCombinations(options)
  const input = parseCurve(await readCurveFile(options.curve ?? '', '--curve'), '--curve')
  if (options.snapshot !== undefined) return snapshot(session, input, options)
  const axes = options.matrix ? parseAxes(options) : undefined
  if (axes !== undefined) return matrix(session, input, options, axes)
  const prediction = predict(input, parseMigrationOptions(migrationOptions(options), flagOf))
  printPrediction(session, prediction)
  session.document(prediction)
  return status(prediction, options)
}

/** The option of the command line for one of the library: `--device-state` for `deviceState`. */
const flagOf = (option: string): string =>
  `--${option.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)}`

/** What the command line has for `predictMigration`. */
function migrationOptions(options: PredictOptions): MigrationOptions {
  const { bandwidth, downtime = '', profile, memory, deviceState } = options
  const { linkBandwidth, switchoverBandwidth } = options
  return { bandwidth, downtime, profile, memory, deviceState, linkBandwidth, switchoverBandwidth }
}

function refuseCombinations(options: PredictOptions): void {
  const { curve, downtime, snapshot, granularity, matrix, exitCode } = options
  if (curve === undefined) {
    throw argumentError(
      '--curve: it is missing',
      'Give the file of a curve: dirtyrate curve TARGET --json > FILE.',
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
): number {
  const wanted = { interval, bandwidth, granularity, memory }
  const prediction = predictSnapshotOf(input, wanted, option =>
    option === 'interval' ? '--snapshot' : flagOf(option),
  )
  printSnapshot(session, prediction)
  session.document({ snapshot: prediction })
  return EXIT_OK
}

function matrix(
  session: Session,
  input: CurveInput,
  options: PredictOptions,
  axes: MatrixAxes,
): number {
  const made = matrixOf(input, migrationOptions(options), axes, flagOf)
  printMatrix(session, made)
  session.document(made)
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
