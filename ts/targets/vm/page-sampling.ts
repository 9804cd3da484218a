/**
 * The mode 'page-sampling': hashes of some pages at the window's two ends. An estimate with an interval; it tracks nothing, so it
 * costs the guest next to nothing, and it does not see a write of what was there already.
 */

import { type OptionNames, parseChoice, parseCount, parseOptions, show } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type {
  CancelToken,
  NativeSampleOptions,
  NativeSampleReport,
  NativeVirtualMachine,
} from '../../ground/native.js'
import { samplingRate } from '../../qapi/arithmetic.js'
import { type BlockMeasurement, removalWarnings } from '../../results/blocks.js'
import type { Figures } from '../../results/measurement.js'

/** QEMU's limits of sample-pages. */
export const FEWEST_SAMPLES = 128
export const MOST_SAMPLES = 16_384
/** QEMU's default: one in each 2 MiB. */
export const DEFAULT_SAMPLES = 512
const DEFAULT_CONFIDENCE = 0.95
/** The ways of choosing samples. */
export const designs = ['stratified', 'simple-random'] as const
/** The methods of making an interval. */
export const intervals = ['wilson', 'clopper-pearson'] as const
export const LARGEST_SEED: number = 2 ** 32 - 1

/** How samples are chosen and judged. */
export interface SamplingOptions {
  /** `stratified` (default): one sample at a random place in each part of the memory; `simple-random`: anywhere, as in QEMU. */
  design?: (typeof designs)[number] | undefined
  /** The method of the interval; default `wilson`. `clopper-pearson` never covers less than its confidence, and is wider. */
  interval?: (typeof intervals)[number] | undefined
  /** Makes the choice of pages repeatable: a whole number below 2^32. */
  seed?: number | undefined
}

/**
 * The options of this mode. An exact mode refuses them, because it would have to ignore them, but
 * for `confidence`: an exact figure is exact at any confidence.
 */
export interface SampleOptions {
  /** Pages looked at per GiB: 128 to 16384, default 512. */
  samplePages?: number | undefined
  /**
   * The confidence of the interval, above 0 and below 1, default 0.95. In a result of an exact mode
   * it is always 1.
   */
  confidence?: number | undefined
  sampling?: SamplingOptions | undefined
}

const SAMPLING: OptionNames<SamplingOptions> = { design: true, interval: true, seed: true }

/** Checks `options`. Throws ERR_ARGUMENT. */
export function parseSampling(options: SampleOptions): NativeSampleOptions {
  const { samplePages, confidence, sampling = {} } = options
  const { design, interval, seed } = parseOptions(sampling, SAMPLING, 'sampling')
  return {
    samplesPerGib:
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
 * `confidence` if it lies between 0 and 1. Throws ERR_ARGUMENT, naming it `name` and showing it as
 * `shown`.
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

/** Looks at the samples, and again at each deadline: ms from the beginning of the first look, ascending. */
export async function samplePages(
  vm: NativeVirtualMachine,
  options: NativeSampleOptions,
  deadlinesMs: readonly number[],
  cancel: CancelToken,
): Promise<Figures[]> {
  const reports = await vm.sampleAt(options, [...deadlinesMs], cancel)
  if (reports.length !== deadlinesMs.length)
    throw new RangeError('sampleAt answered with no report for a deadline')
  const confidence = options.confidence ?? DEFAULT_CONFIDENCE
  return reports.map(report => samplingFigures(report, confidence))
}

function samplingFigures(report: NativeSampleReport, confidence: number): Figures {
  const { requestedMs, windowNs, skewNs, samples, hits, zeroPages, samplesPerGib } = report
  const blocks = report.blocks.map(block => blockFigures(block, confidence))
  return {
    mode: 'page-sampling',
    window: { requestedMs, ns: windowNs, skewNs },
    lateNs: report.lateNs,
    explainedNs: report.hashNs,
    bytesPerSecond: report.bytesPerSecond,
    interval: { low: report.bytesPerSecondLow, high: report.bytesPerSecondHigh, confidence },
    pages: Math.round(report.pages),
    blocks,
    sampling: { samples, hits, zeroPages, samplesPerGiB: samplesPerGib },
    increment: {
      pages: Math.round(report.incrementPages),
      ...wholePages(report.incrementLow, report.incrementHigh),
    },
    cost: {
      startNs: 0,
      syncNs: 0,
      clearNs: 0,
      harvestNs: 0,
      reapNs: 0,
      ioctlNs: 0,
      longestLockNs: 0,
      hashNs: report.hashNs,
    },
    complete: true,
    warnings: removalWarnings(blocks),
    qapi: {
      'sample-pages': samplesPerGib,
      'dirty-rate': samplingRate(
        hits,
        samples,
        blocks.map(({ bytes }) => bytes),
        windowNs,
      ),
    },
    ...(report.truth ? { truth: report.truth } : {}),
  }
}

function blockFigures(block: NativeSampleReport['blocks'][number], confidence: number): BlockMeasurement {
  const { name, guestAddress, bytes, windowNs, removed, samples, hits, zeroPages } = block
  return {
    name,
    guestAddress,
    bytes,
    pages: Math.round(block.pages),
    windowNs,
    ...(removed ? { removed } : {}),
    sampling: {
      samples,
      hits,
      zeroPages,
      pages: { ...wholePages(block.pagesLow, block.pagesHigh), confidence },
    },
  }
}

/** An estimate's bounds in whole pages: a number of pages that lies between them still does. */
function wholePages(low: number, high: number): { low: number; high: number } {
  return { low: Math.floor(low), high: Math.ceil(high) }
}
