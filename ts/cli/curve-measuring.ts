/** Measures the curve of a target, for the commands that need one. */

import { parseCountText } from '../ground/arguments.js'
import { argumentError, DirtyRateError } from '../ground/errors.js'
import { native } from '../ground/native.js'
import { parseGranule } from '../measurement/granularities.js'
import type { CurveOptions } from '../measurement/options.js'
import { MOST_ROUNDS, parseRepetition } from '../measurement/repetition.js'
import { parseWindows } from '../measurement/windows.js'
import { duration } from '../prediction/words.js'
import type { DirtyRateCurve } from '../results/curve.js'
import type { Target } from '../targets/target.js'
import { documentText } from './json.js'
import { during } from './progress.js'
import type { Session } from './session.js'
import { type ModeOptions, type Opening, parseModeOptions } from './target.js'
import { parseWait, type Wait, type WaitOptions, waitBefore } from './wait.js'
import { requireWritable, writeNamedFile } from './whole-file.js'

/** The options of a command that measures a curve. */
export interface CurveMeasuringOptions extends ModeOptions, WaitOptions {
  windows?: string
  granularity?: string
  repeat?: string
  for?: string
  save?: string
  compressibility?: boolean
}

/** How a curve is measured: the options, checked. */
export interface CurvePlan extends Opening {
  readonly wait: Wait
  /** Undefined for those of the command, or of the target. */
  readonly windows: readonly number[] | undefined
  readonly more: Pick<CurveOptions, 'granularities' | 'repeat' | 'for' | 'compressibility'>
  readonly save: string | undefined
}

/** Checks the options before a VM is made for `uri`. Throws ERR_ARGUMENT. */
export function parseCurvePlan(options: CurveMeasuringOptions, uri: string): CurvePlan {
  if (options.save === '') throw argumentError('--save: it is empty', 'Give the name of a file.')
  return {
    mode: parseModeOptions(options, [uri]),
    force: options.force,
    wait: parseWait(options),
    windows: options.windows === undefined ? undefined : parseList(options.windows),
    more: parseMore(options),
    save: options.save,
  }
}

/**
 * Measures the curve. `windows` are those without --windows; a kind of target that cannot measure
 * them has its own. A repeated curve that is interrupted has its whole rounds. After the curve was
 * shown, call {@link saveCurve} and {@link endIfInterrupted}.
 */
export async function measureCurve(
  session: Session,
  target: Target,
  { mode, wait, windows: given, more, save }: CurvePlan,
  windows: readonly string[],
): Promise<DirtyRateCurve> {
  const { signal } = session
  // Nobody measures for minutes to learn then that the file cannot be written.
  if (save !== undefined) await requireWritable('--save', save)
  await waitBefore(session, target, wait)
  const wanted = given ?? parseList((target.curveWindows ?? windows).join(','))
  const longest = wanted.at(-1) ?? 0
  const repetition = parseRepetition(more, longest, OPTION_NAMES)
  const curve = await during(
    session,
    `measuring for windows of ${wanted.map(duration).join(', ')}`,
    repetition?.expectedMs ?? longest,
    () =>
      target.measureDirtyCurve({
        ...mode,
        ...more,
        ...(repetition === undefined ? {} : { keepRounds: true }),
        windows: wanted,
        signal,
      }),
  )
  return curve
}

/** Saves the document of a curve, if that was asked for. Call it after the curve was shown. */
export async function saveCurve({ save }: CurvePlan, curve: DirtyRateCurve): Promise<void> {
  if (save !== undefined)
    await writeNamedFile('--save', save, Buffer.from(documentText(curve, false)))
}

/**
 * Throws what interrupted `curve`, a signal or the error of a round, which then ends the command as
 * it ends any other one.
 */
export function endIfInterrupted(session: Session, { warnings }: DirtyRateCurve): void {
  const interruption = warnings.find(({ code }) => code === 'INTERRUPTED')
  if (interruption === undefined) return
  session.signal.throwIfAborted()
  const { error } = interruption
  if (error !== undefined) throw new DirtyRateError(error.code, error.message, { hint: error.hint })
}

/** The names of options in messages. */
const OPTION_NAMES = { repeat: '--repeat', for: '--for' } as const

/** The options of the API that are given as they are; their values are checked by the API. */
function parseMore({
  granularity,
  repeat,
  for: time,
  compressibility,
}: CurveMeasuringOptions): CurvePlan['more'] {
  const sizes = granularity?.split(',').filter(size => size.trim() !== '')
  return {
    ...(sizes === undefined
      ? {}
      : {
          granularities: sizes.map(size =>
            parseGranule(size, '--granularity', native().hostPageSize()),
          ),
        }),
    ...(repeat === undefined ? {} : { repeat: parseCountText(repeat, '--repeat', 1, MOST_ROUNDS) }),
    ...(time === undefined ? {} : { for: time }),
    ...(compressibility ? { compressibility } : {}),
  }
}

function parseList(text: string): number[] {
  const windows = text.split(',').filter(window => window.trim() !== '')
  return parseWindows(windows, '--windows', '50ms,100ms,1s')
}
