/**
 * The mode 'page-sampling' of all kinds of targets whose pages this package samples itself. It
 * compares hashes of some pages at both ends of the window. It gives an estimate with an interval.
 * It tracks nothing, so it costs the guest next to nothing, but it does not see a write that
 * changes nothing.
 */

import type { CancelToken, NativeSampleOptions, NativeSampleReport } from '../ground/native.js'
import type { Samples } from '../measurement/sampling.js'
import type { Round } from '../measurement/source.js'
import { removalWarnings, unjudgedWarnings } from '../measurement/warnings.js'
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
  { samplesPerGiB, ...samples }: Samples,
  pageSize: number,
  deadlinesMs: readonly number[],
  cancel: CancelToken,
): Promise<Round<OwnSamplesFigures>[]> {
  const options = { samplesPerGib: samplesPerGiB, ...samples }
  const reports = await sampleAt(options, [...deadlinesMs], cancel)
  if (reports.length !== deadlinesMs.length)
    throw new RangeError('sampleAt answered with no report for a deadline')
  return reports.map(report => ({
    figures: samplingFigures(report, samples.confidence, pageSize),
    lateNs: report.lateNs,
    explainedNs: report.hashNs,
    increment: {
      pages: Math.round(report.incrementPages),
      ...wholePages(report.incrementLow, report.incrementHigh),
    },
  }))
}

function samplingFigures(
  report: NativeSampleReport,
  confidence: number,
  pageSize: number,
): OwnSamplesFigures {
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
