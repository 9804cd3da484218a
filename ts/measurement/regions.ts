/** The regions and granules of single windows, and the columns that a curve makes of them. */

import type { CurveGranularity, CurveRegion } from '../results/curve.js'

/** The size of a region: the core counts in this unit. */
const REGION_BYTES = 2 ** 30

/** One region in one window. */
export interface RegionOfWindow {
  /** Tells the regions of one run apart, also if two blocks have had one name. */
  readonly key: string
  readonly region: Omit<CurveRegion, 'pages' | 'low' | 'high'>
  readonly pages: number
  /** The bounds of an estimate. */
  readonly bounds?: { readonly low: number; readonly high: number }
}

/** The granules of one size in one window. */
export interface GranulesOfWindow {
  readonly granuleBytes: number
  readonly dirty: number
  readonly extents: number
}

/** A block whose pages are known by region. */
interface Block {
  /** Tells the blocks of one run apart. */
  readonly key: string
  readonly name: string
  readonly guestAddress?: number | undefined
  readonly bytes: number
}

/** The regions of `block`, whose pages are `pages`, one after the other from its start on. */
export function regionsOfBlock(
  { key, name, guestAddress, bytes }: Block,
  pages: readonly number[],
  bounds?: { readonly low: readonly number[]; readonly high: readonly number[] },
): RegionOfWindow[] {
  return pages.map((dirty, number) => {
    const offset = number * REGION_BYTES
    const [low, high] = [bounds?.low[number], bounds?.high[number]]
    return {
      key: `${key}+${offset}`,
      region: {
        block: name,
        offset,
        ...(guestAddress === undefined ? {} : { guestAddress: guestAddress + offset }),
        bytes: Math.min(REGION_BYTES, bytes - offset),
      },
      pages: dirty,
      ...(low === undefined || high === undefined ? {} : { bounds: { low, high } }),
    }
  })
}

/**
 * The regions of all windows, with one column for each window. A region that is not in a window
 * yet, because its block was added later, has no dirty page there.
 */
export function regionColumns(windows: readonly (readonly RegionOfWindow[])[]): CurveRegion[] {
  const found = new Map<string, RegionOfWindow>()
  // The last window has all blocks, and the removed ones behind those that exist.
  for (const window of [...windows].reverse())
    for (const of of window) if (!found.has(of.key)) found.set(of.key, of)
  const byKey = windows.map(window => new Map(window.map(of => [of.key, of])))
  return [...found.values()].map(({ key, region, bounds }) => {
    const column = (value: (of: RegionOfWindow) => number | undefined): number[] =>
      byKey.map(window => {
        const of = window.get(key)
        return (of === undefined ? 0 : value(of)) ?? 0
      })
    return {
      ...region,
      pages: column(({ pages }) => pages),
      ...(bounds === undefined
        ? {}
        : { low: column(of => of.bounds?.low), high: column(of => of.bounds?.high) }),
    }
  })
}

/** The granules of all windows, with one column for each window. */
export function granularityColumns(
  windows: readonly (readonly GranulesOfWindow[])[],
): CurveGranularity[] {
  return (windows.at(-1) ?? []).map(({ granuleBytes }, size) => ({
    granuleBytes,
    dirtyGranules: windows.map(window => window[size]?.dirty ?? 0),
    extents: windows.map(window => window[size]?.extents ?? 0),
  }))
}
