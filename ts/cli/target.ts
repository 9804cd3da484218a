/**
 * The common part of the commands that measure a target: the options about the mode, and opening
 * and closing the target.
 */

import { parseChoice, parseCountText, shortened, show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { formatSize } from '../ground/units.js'
import { parseMode } from '../measurement/mode.js'
import {
  designs,
  intervals,
  LARGEST_SEED,
  parseConfidence,
  type SampleOptions,
  type SamplingOptions,
} from '../measurement/sampling.js'
import { dirtyRateLinesOfMs } from '../qapi/hmp.js'
import type { DirtyRateMeasurement } from '../qapi/info.js'
import { FEWEST_SAMPLES, MOST_SAMPLES } from '../qapi/limits.js'
import type { Mode } from '../results/mode.js'
import { openTarget, schemes } from '../targets/open.js'
import type { Target } from '../targets/target.js'
import { withOwnHint } from './guest-end.js'
import type { Session } from './session.js'

/** The options about the mode, as they are on the command line. */
export interface ModeOptions {
  mode: string
  force: boolean
  samplePages?: string
  confidence?: string
  interval?: string
  design?: string
  seed?: string
}

/** The options about the mode, as the API takes them. */
export interface ParsedMode extends SampleOptions {
  mode: Mode | 'auto'
}

/** The options that are for page sampling alone. */
const SAMPLING = {
  samplePages: '--sample-pages',
  interval: '--interval',
  design: '--design',
  seed: '--seed',
} as const

/**
 * Checks the options before a VM is made for one of `uris`. Throws ERR_ARGUMENT, also if the mode
 * `auto` of one of them is an exact one, and would have to ignore an option.
 */
export function parseModeOptions(options: ModeOptions, uris: readonly string[]): ParsedMode {
  const { samplePages, confidence } = options
  const mode = parseMode(options.mode, '--mode')
  const isExact = mode === 'auto' ? uris.some(makesVm) : mode !== 'page-sampling'
  if (isExact) refuseSamplingOptions(options)
  const sampling = parseSamplingOptions(options)
  return {
    mode,
    ...(samplePages === undefined
      ? {}
      : {
          samplePages: parseCountText(
            samplePages,
            SAMPLING.samplePages,
            FEWEST_SAMPLES,
            MOST_SAMPLES,
          ),
        }),
    ...(confidence === undefined ? {} : { confidence: parseConfidenceText(confidence) }),
    ...(Object.keys(sampling).length === 0 ? {} : { sampling }),
  }
}

/** Whether opening `uri` makes a VM, whose mode `auto` is an exact one. */
export function makesVm(uri: string): boolean {
  return schemes.some(({ name, makesVm = false }) => makesVm && uri.startsWith(`${name}:`))
}

/** Throws ERR_ARGUMENT for an option that only page sampling has. */
function refuseSamplingOptions(options: Partial<Record<keyof typeof SAMPLING, unknown>>): void {
  const given = (Object.keys(SAMPLING) as (keyof typeof SAMPLING)[]).find(
    key => options[key] !== undefined,
  )
  if (given === undefined) return
  throw argumentError(
    `${SAMPLING[given]}: used only in page-sampling mode`,
    'Give --mode page-sampling too.',
  )
}

function parseSamplingOptions({ interval, design, seed }: ModeOptions): SamplingOptions {
  return {
    ...(interval === undefined
      ? {}
      : { interval: parseChoice(interval, SAMPLING.interval, intervals) }),
    ...(design === undefined ? {} : { design: parseChoice(design, SAMPLING.design, designs) }),
    ...(seed === undefined ? {} : { seed: parseCountText(seed, SAMPLING.seed, 0, LARGEST_SEED) }),
  }
}

function parseConfidenceText(text: string): number {
  if (!/^[0-9]*\.?[0-9]+$/.test(text)) {
    throw argumentError(
      `--confidence: ${show(text)} is not a number`,
      'Give one between 0 and 1, such as 0.95.',
    )
  }
  return parseConfidence(Number(text), '--confidence', shortened(text))
}

/**
 * Throws ERR_ARGUMENT if --hmp and --json are both given, because only one of them can be printed.
 */
export function refuseHmpAndJson(session: Session, hmp: boolean): void {
  if (hmp && session.options.json) {
    throw argumentError('--hmp: it cannot be combined with --json', 'Give one of the two.')
  }
}

/**
 * Throws ERR_ARGUMENT if --csv is given together with --json or --hmp, because only one of them can
 * be printed.
 */
export function refuseCsvAnd(
  session: Session,
  { csv, hmp = false }: { csv: boolean; hmp?: boolean },
): void {
  const other = session.options.json ? '--json' : hmp ? '--hmp' : undefined
  if (csv && other !== undefined)
    throw argumentError(`--csv: it cannot be combined with ${other}`, 'Give one of the two.')
}

/** Prints what QEMU's monitor would print. */
export function printHmp(session: Session, { qapi }: DirtyRateMeasurement): void {
  for (const line of dirtyRateLinesOfMs(qapi)) session.print(line)
}

/** How a target is opened: for which mode, and whether in a mode that is refused otherwise. */
export interface Opening {
  readonly mode: ParsedMode
  readonly force: boolean
}

/** Opens `uri` to be measured in a mode, calls `use`, and closes the target. */
export async function withTarget<T>(
  session: Session,
  uri: string,
  { mode, force }: Opening,
  use: (target: Target) => Promise<T>,
): Promise<T> {
  session.progress(`opening ${uri}`)
  const target = await openTarget(uri, { signal: session.signal, mode: mode.mode, force })
  // A command shows its results, and never looks at them again.
  target.limitHistory?.(0)
  noteGuestMemory(session, target)
  try {
    return await use(target)
  } catch (error) {
    throw withOwnHint(error, target)
  } finally {
    await target.close()
  }
}

/** Says which memory of another process is measured, because a rule has found it. */
function noteGuestMemory(session: Session, { guestMemory }: Target): void {
  if (guestMemory === undefined) return
  const { ranges, why } = guestMemory
  const list = ranges.map(
    ({ name, addresses, bytes }) => `${name} ${addresses} (${formatSize(bytes)})`,
  )
  session.note(`Guest memory: ${list.join(', ')}. ${why.join(' ')}`)
}
