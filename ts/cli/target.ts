/** What the commands that measure a target have in common: the options about the mode, and the target's life. */

import { parseChoice, parseCountText, shortened, show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
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
import { openTarget } from '../targets/open.js'
import type { Target } from '../targets/target.js'
import type { Session } from './session.js'

/** As on the command line. */
export interface ModeOptions {
  mode: string
  samplePages?: string
  confidence?: string
  interval?: string
  design?: string
  seed?: string
}

/** As the API takes them. */
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

/** Throws ERR_ARGUMENT, before a VM is made. */
export function parseModeOptions(options: ModeOptions): ParsedMode {
  const { samplePages, confidence } = options
  const mode = parseMode(options.mode, '--mode')
  const given = (Object.keys(SAMPLING) as (keyof typeof SAMPLING)[]).find(key => options[key] !== undefined)
  if (given !== undefined && mode !== 'page-sampling') {
    throw argumentError(
      `${SAMPLING[given]}: used only in page-sampling mode`,
      'Give --mode page-sampling too.',
    )
  }
  return {
    mode,
    ...(samplePages === undefined
      ? {}
      : { samplePages: parseCountText(samplePages, SAMPLING.samplePages, FEWEST_SAMPLES, MOST_SAMPLES) }),
    ...(confidence === undefined ? {} : { confidence: parseConfidenceText(confidence) }),
    ...(mode === 'page-sampling' ? { sampling: parseSamplingOptions(options) } : {}),
  }
}

function parseSamplingOptions({ interval, design, seed }: ModeOptions): SamplingOptions {
  return {
    ...(interval === undefined ? {} : { interval: parseChoice(interval, SAMPLING.interval, intervals) }),
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

/** Throws ERR_ARGUMENT: what is printed is one or the other. */
export function refuseHmpAndJson(session: Session, hmp: boolean): void {
  if (hmp && session.options.json) {
    throw argumentError("--hmp: prints QEMU's text, and --json a document", 'Give one of the two.')
  }
}

/** Throws ERR_ARGUMENT: what is printed is CSV, or a document, or QEMU's text. */
export function refuseCsvAnd(session: Session, { csv, hmp = false }: { csv: boolean; hmp?: boolean }): void {
  const other = session.options.json ? '--json' : hmp ? '--hmp' : undefined
  if (csv && other !== undefined)
    throw argumentError(`--csv: ${other} prints something else`, 'Give one of the two.')
}

/** What QEMU's monitor would print of it. */
export function printHmp(session: Session, { qapi }: DirtyRateMeasurement): void {
  for (const line of dirtyRateLinesOfMs(qapi)) session.print(line)
}

/** Opens `uri`, with the log that `mode` needs, for as long as `use` takes. */
export async function withTarget<T>(
  session: Session,
  uri: string,
  mode: Mode | 'auto',
  use: (target: Target) => Promise<T>,
): Promise<T> {
  session.progress(`starting ${uri}`)
  const target = await openTarget(uri, { signal: session.signal, mode })
  try {
    return await use(target)
  } finally {
    await target.close()
  }
}
