/**
 * The mode 'soft-dirty' of a process: makes the figures of a window from the kernel's soft-dirty
 * bits. The native call clears the bits, and looks at them at each deadline.
 */

import { DirtyRateError, hasCode } from '../../ground/errors.js'
import { type NativeSoftDirtyReport, native } from '../../ground/native.js'
import { cellsOf } from '../../measurement/cells.js'
import { regionsOfBlock } from '../../measurement/regions.js'
import type { CurveDetail, Method, ModeAbility, Round } from '../../measurement/source.js'
import type { BlockMeasurement, Cost, SoftDirtyFigures, Window } from '../../results/measurement.js'
import type { Warning } from '../../results/warning.js'

/** What the soft-dirty bits of a process say: its pages are always known. */
export type ProcessSoftDirtyFigures = SoftDirtyFigures & {
  readonly window: Window & Required<Pick<Window, 'skewNs'>>
  readonly pages: number
  readonly pageSize: number
  readonly blocks: readonly BlockMeasurement[]
  readonly cost: Cost
}

/** The mode, as `describe()` has it. */
export function softDirtyAbility(): ModeAbility {
  return {
    mode: 'soft-dirty',
    exact: true,
    costToGuest:
      'a page fault on the first write to each page of the whole process, and a pause of its page faults while the bits are cleared',
    ...(native().kernelMayHaveSoftDirty()
      ? {}
      : { refused: 'this kernel has no soft-dirty bits (CONFIG_MEM_SOFT_DIRTY)' }),
  }
}

/** The rounds of one run, one for each deadline; with `detail` they have what a curve needs. */
export function softDirtyRounds(
  reports: readonly NativeSoftDirtyReport[],
  pageSize: number,
  detail?: CurveDetail,
  method: Pick<Method, 'cellBytes'> = {},
): Round<ProcessSoftDirtyFigures>[] {
  return reports.map(report => ({
    figures: { ...softDirtyFigures(report, pageSize), ...cellsOf(report.blocks, method) },
    lateNs: report.lateNs,
    explainedNs: report.skewNs,
    ...(detail === undefined ? {} : breakdownOf(report)),
  }))
}

/** Where the pages of a report are. */
function breakdownOf({
  blocks,
  granularities,
}: NativeSoftDirtyReport): Pick<Round, 'regions' | 'granularities' | 'memory'> {
  return {
    regions: blocks.flatMap(({ regions, ...block }) =>
      regions ? regionsOfBlock({ ...block, key: block.name }, regions) : [],
    ),
    ...(granularities.length > 0 ? { granularities } : {}),
    memory: { bytes: blocks.reduce((sum, { bytes }) => sum + bytes, 0) },
  }
}

function softDirtyFigures(
  report: NativeSoftDirtyReport,
  pageSize: number,
): ProcessSoftDirtyFigures {
  const { requestedMs, windowNs, skewNs, bytesPerSecond, leastBytesPerSecond, pages } = report
  const { clearNs, lookNs } = report
  const missesWrites = report.vanished || report.shared || report.mergeable
  const blocks = report.blocks.map(
    ({ name, guestAddress, bytes, pages, windowNs }): BlockMeasurement => ({
      name,
      guestAddress,
      bytes,
      pages,
      windowNs,
    }),
  )
  return {
    mode: 'soft-dirty',
    window: { requestedMs, ns: windowNs, skewNs },
    bytesPerSecond,
    interval: {
      low: leastBytesPerSecond,
      high: missesWrites ? null : bytesPerSecond,
      confidence: 1,
    },
    pages,
    pageSize,
    blocks,
    cost: { startNs: clearNs, clearNs, syncNs: lookNs, longestLockNs: clearNs },
    complete: !missesWrites,
    warnings: warningsOf(report),
  }
}

function warningsOf(report: NativeSoftDirtyReport): Warning[] {
  const huge = report.blocks.filter(({ huge }) => huge).map(({ name }) => `'${name}'`)
  const warnings: (Warning | false)[] = [
    huge.length > 0 && {
      code: 'HUGE_PAGES',
      message: `the kernel has some of the memory in huge pages (${huge.join(', ')}), and the first write to one counts for all of it: the figures are upper bounds, and the interval has the lower bound of the rate`,
    },
    report.vanished && {
      code: 'BITS_VANISHED',
      message:
        'soft-dirty bits vanished within the window: another program has cleared them, the process has discarded memory, or the kernel has taken pages of a file away from it, so the figures are lower bounds',
    },
    report.shared && {
      code: 'WRITES_UNSEEN',
      message:
        'another process has some of the same pages, as with vhost-user: its writes are not counted, so the figures are lower bounds',
    },
    report.mergeable && {
      code: 'WRITES_UNSEEN',
      message:
        'the kernel merges pages of the same contents (KSM): pages that it merges within the window are not counted, so the figures are lower bounds',
    },
    report.inUse && {
      code: 'BITS_IN_USE',
      message:
        'the soft-dirty bits had been cleared before: by an earlier measurement, or by another program such as CRIU, which now misses the writes before this measurement',
    },
  ]
  return warnings.filter(warning => warning !== false)
}

/** What helps where the kernel has no soft-dirty bits. */
export const SOFT_DIRTY_KERNEL =
  'The kernel has to be built with CONFIG_MEM_SOFT_DIRTY, as those of Debian and Ubuntu for x86-64 are: no command turns it on'

/** An error of the native call, with the hint that it needs. */
export function explainSoftDirty(error: unknown): unknown {
  if (!(error instanceof DirtyRateError)) return error
  const { code, message, details } = error
  const hint = hasCode(error, 'ERR_UNSUPPORTED')
    ? `Use page-sampling. ${SOFT_DIRTY_KERNEL}.`
    : hasCode(error, 'ERR_MEASURING')
      ? 'Wait until the other measurement has ended, because the bits exist once for the whole process, or use page-sampling.'
      : hasCode(error, 'ERR_STATE')
        ? 'Measure again, or use page-sampling.'
        : undefined
  return hint === undefined
    ? error
    : new DirtyRateError(code, message, { hint, details, cause: error })
}
