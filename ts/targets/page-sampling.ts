/**
 * The mode 'page-sampling' of all kinds of targets whose pages this package samples itself. It
 * compares hashes of some pages at both ends of the window. It gives an estimate with an interval.
 * It tracks nothing, so it costs the guest next to nothing, but it does not see a write that
 * changes nothing.
 */

import type {
  CancelToken,
  NativeCompressibility,
  NativeSampleOptions,
  NativeSampleReport,
} from '../ground/native.js'
import { sampledCellsOf } from '../measurement/cells.js'
import { type RegionOfWindow, regionsOfBlock } from '../measurement/regions.js'
import { parseSampling } from '../measurement/sampling.js'
import type { CurveDetail, MemoryContents, Method, Round } from '../measurement/source.js'
import { removalWarnings, unjudgedWarnings } from '../measurement/warnings.js'
import type { CurveMemory } from '../results/curve.js'
import type {
  BlockMeasurement,
  Cost,
  PageSamplingFigures,
  SamplingMeasurement,
  Window,
} from '../results/measurement.js'

/** A block of guest memory whose guest address is known. */
export type PlacedBlock = BlockMeasurement & { readonly guestAddress: number }

/** What samples that we have taken ourselves say. */
export type OwnSamplesFigures = PageSamplingFigures & {
  readonly window: Window & Required<Pick<Window, 'skewNs'>>
  readonly pages: number
  readonly pageSize: number
  readonly blocks: readonly PlacedBlock[]
  readonly cost: Cost
  readonly sampling: Required<SamplingMeasurement>
}

type SamplingMethod = Extract<Method, { mode: 'page-sampling' }>

/** The call of the binding that samples: of a VM of our own, or of another process. */
export type SampleAt = (
  options: NativeSampleOptions,
  deadlinesMs: number[],
  cancel: CancelToken,
) => Promise<NativeSampleReport[]>

/**
 * Looks at the samples, and again at each deadline. Deadlines are in ms from the beginning of the
 * first look, ascending.
 */
export async function samplePages(
  sampleAt: SampleAt,
  method: SamplingMethod,
  pageSize: number,
  deadlinesMs: readonly number[],
  cancel: CancelToken,
  detail?: CurveDetail,
): Promise<Round<OwnSamplesFigures>[]> {
  const byRegion = detail !== undefined
  const { samplesPerGiB, ...samples } = method.samples
  const options = {
    samplesPerGib: samplesPerGiB,
    ...samples,
    byRegion,
    ...(method.cellBytes === undefined ? {} : { cellBytes: method.cellBytes }),
  }
  const reports = await sampleAt(options, [...deadlinesMs], cancel)
  if (reports.length !== deadlinesMs.length)
    throw new RangeError('sampleAt answered with no report for a deadline')
  return reports.map(report => ({
    figures: samplingFigures(report, method, pageSize),
    lateNs: report.lateNs,
    explainedNs: report.hashNs,
    increment: {
      pages: Math.round(report.incrementPages),
      ...wholePages(report.incrementLow, report.incrementHigh),
    },
    ...(byRegion ? { regions: regionsOf(report), memory: memoryOf(report) } : {}),
  }))
}

/** The call of the binding that compresses sampled pages. */
type Compressibility = (options: NativeSampleOptions) => Promise<NativeCompressibility>

/** What the memory of `bytes` holds. In an exact mode, it is sampled with the default options. */
export async function contentsOf(
  compressibility: Compressibility,
  method: Method,
  { bytes, pageSize }: { readonly bytes: number; readonly pageSize: number },
): Promise<MemoryContents> {
  const { samplesPerGiB, ...samples } =
    method.mode === 'page-sampling' ? method.samples : parseSampling({})
  const found = await compressibility({ samplesPerGib: samplesPerGiB, ...samples })
  const pages = bytes / pageSize
  const { compressed } = found
  return {
    zeroPages: {
      value: Math.round(found.zero * pages),
      ...wholePages(found.zeroLow * pages, found.zeroHigh * pages),
    },
    ...(compressed
      ? {
          compressedRatio: {
            value: compressed.ratio,
            low: compressed.ratioLow,
            high: compressed.ratioHigh,
          },
          compressionBytesPerSecond: compressed.bytesPerSecond,
        }
      : {}),
  }
}

function regionsOf({ blocks }: NativeSampleReport): RegionOfWindow[] {
  // Blocks are only added behind the others, so the number of a block tells it apart.
  return blocks.flatMap(({ regions, ...block }, number) =>
    regions
      ? regionsOfBlock({ ...block, key: String(number) }, regions.pages.map(Math.round), {
          low: regions.low.map(Math.floor),
          high: regions.high.map(Math.ceil),
        })
      : [],
  )
}

function memoryOf(report: NativeSampleReport): CurveMemory {
  const bounds = wholePages(report.memoryZeroPagesLow, report.memoryZeroPagesHigh)
  return {
    bytes: report.memoryBytes,
    zeroPages: { value: Math.round(report.memoryZeroPages), ...bounds },
  }
}

function samplingFigures(
  report: NativeSampleReport,
  method: SamplingMethod,
  pageSize: number,
): OwnSamplesFigures {
  const { confidence } = method.samples
  const { requestedMs, windowNs, skewNs, samples, hits, zeroPages, unjudged, samplesPerGib } =
    report
  const blocks = report.blocks.map(block => blockFigures(block, confidence))
  return {
    mode: 'page-sampling',
    window: { requestedMs, ns: windowNs, skewNs },
    bytesPerSecond: report.bytesPerSecond,
    interval: { low: report.bytesPerSecondLow, high: report.bytesPerSecondHigh, confidence },
    pages: Math.round(report.pages),
    pageSize,
    blocks,
    ...sampledCellsOf(report.blocks, method),
    sampling: { samples, hits, zeroPages, samplesPerGiB: samplesPerGib },
    cost: { hashNs: report.hashNs },
    complete: unjudged === 0,
    warnings: [...removalWarnings(blocks), ...unjudgedWarnings(unjudged, samples)],
    ...(report.truth ? { truth: report.truth } : {}),
  }
}

function blockFigures(
  block: NativeSampleReport['blocks'][number],
  confidence: number,
): PlacedBlock {
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

/**
 * Rounds the bounds of an estimate to whole pages, outwards, so that no whole number between them
 * is lost.
 */
function wholePages(low: number, high: number): { low: number; high: number } {
  return { low: Math.floor(low), high: Math.ceil(high) }
}
