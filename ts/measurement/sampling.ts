/** The options of page sampling, for every kind of target. */

import {
  type OptionNames,
  parseChoice,
  parseCount,
  parseOptions,
  show,
} from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { DEFAULT_SAMPLES, FEWEST_SAMPLES, MOST_SAMPLES } from '../qapi/limits.js'

const DEFAULT_CONFIDENCE = 0.95
/** The ways of choosing samples. */
export const designs = ['stratified', 'simple-random'] as const
/** The methods of making an interval. */
export const intervals = ['wilson', 'clopper-pearson'] as const
export const LARGEST_SEED: number = 2 ** 32 - 1

/** How samples are chosen and judged. */
export interface SamplingOptions {
  /**
   * `stratified` (default): one sample at a random place in each part of the memory.
   * `simple-random`: anywhere, as in QEMU.
   */
  design?: (typeof designs)[number] | undefined
  /**
   * The method of the interval. Default `wilson`. `clopper-pearson` never covers less than its
   * confidence, and is wider.
   */
  interval?: (typeof intervals)[number] | undefined
  /** Makes the choice of pages repeatable: a whole number below 2^32. */
  seed?: number | undefined
}

/**
 * The options of page sampling. An exact mode refuses them, because it would have to ignore them.
 * It accepts only `confidence`, because an exact figure is exact at any confidence.
 */
export interface SampleOptions {
  /** How many pages are looked at per GiB: 128 to 16384, default 512. */
  samplePages?: number | undefined
  /**
   * The confidence of the interval, above 0 and below 1, default 0.95. An exact figure's confidence
   * is always 1.
   */
  confidence?: number | undefined
  sampling?: SamplingOptions | undefined
}

/** {@link SampleOptions}, checked and with their defaults. */
export interface Samples {
  readonly samplesPerGiB: number
  readonly confidence: number
  readonly design: (typeof designs)[number]
  readonly interval: (typeof intervals)[number]
  readonly seed?: number
}

const SAMPLING: OptionNames<SamplingOptions> = { design: true, interval: true, seed: true }

/** Checks `options`. Throws ERR_ARGUMENT. */
export function parseSampling(options: SampleOptions): Samples {
  const { samplePages, confidence, sampling = {} } = options
  const { design, interval, seed } = parseOptions(sampling, SAMPLING, 'sampling')
  return {
    samplesPerGiB:
      samplePages === undefined
        ? DEFAULT_SAMPLES
        : parseCount(samplePages, 'samplePages', FEWEST_SAMPLES, MOST_SAMPLES),
    confidence: parseConfidence(confidence ?? DEFAULT_CONFIDENCE),
    design: parseChoice(design ?? 'stratified', 'sampling.design', designs),
    interval: parseChoice(interval ?? 'wilson', 'sampling.interval', intervals),
    ...(seed === undefined ? {} : { seed: parseCount(seed, 'sampling.seed', 0, LARGEST_SEED) }),
  }
}

/**
 * Returns `confidence` if it lies between 0 and 1. Throws ERR_ARGUMENT, which calls it `name` and
 * shows it as `shown`.
 */
export function parseConfidence(
  confidence: number,
  name = 'confidence',
  shown: string = show(confidence),
): number {
  if (typeof confidence !== 'number' || !(confidence > 0 && confidence < 1)) {
    throw argumentError(
      `${name}: ${shown} is out of range`,
      'Give a number above 0 and below 1, such as 0.95.',
    )
  }
  return confidence
}

/** Throws ERR_ARGUMENT for a choice that an exact mode would ignore. */
export function refuseSampling(mode: string, options: SampleOptions): void {
  if (options.confidence !== undefined) parseConfidence(options.confidence)
  const given = (['samplePages', 'sampling'] as const).find(name => options[name] !== undefined)
  if (given !== undefined) {
    throw argumentError(
      `${given}: used only in page-sampling mode, and this is ${mode}`,
      "Leave it out, or give mode: 'page-sampling'.",
    )
  }
}

/** Throws ERR_ARGUMENT for a choice that somebody else makes, such as QEMU. */
export function refuseIgnored(
  { sampling = {} }: SampleOptions,
  ignored: readonly (keyof SamplingOptions)[] = [],
): void {
  const given = ignored.find(name => sampling[name] !== undefined)
  if (given === undefined) return
  throw argumentError(
    `sampling.${given}: this target is measured by a program that decides this itself`,
    'Leave it out.',
  )
}
