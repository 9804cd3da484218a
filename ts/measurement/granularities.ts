/** The sizes of granules that a curve is asked for. */

import { show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { formatSize, parseSize, type Size } from '../ground/units.js'
import type { Method, Source } from './source.js'

/** Each size costs a pass over the bits of every window. */
const MOST_SIZES = 16

/**
 * The sizes in bytes, ascending, without duplicates. Throws ERR_ARGUMENT, which calls them `name`
 * and shows their form, also if the target cannot know granules in this mode.
 */
export function parseGranularities(
  sizes: readonly Size[] | undefined,
  source: Pick<Source, 'exactPageSize' | 'whyNoGranules'>,
  { mode }: Pick<Method, 'mode'>,
  name = 'granularities',
  form = "['64KiB', '2MiB']",
): number[] {
  if (sizes === undefined) return []
  if (!Array.isArray(sizes) || sizes.length === 0 || sizes.length > MOST_SIZES)
    throw argumentError(`${name}: give 1 to ${MOST_SIZES} sizes`, `Give them as ${form}.`)
  if (mode === 'page-sampling') {
    throw argumentError(
      `${name}: page sampling looks at single pages, so it cannot know how many larger units are dirty`,
      'Leave it out, or use an exact mode.',
    )
  }
  const pageSize = source.exactPageSize
  if (pageSize === undefined) {
    const why = source.whyNoGranules ?? 'nobody says which granules of this target are dirty'
    throw argumentError(
      `${name}: ${why}`,
      'Leave it out, or measure a virtual machine of this package.',
    )
  }
  const bytes = Array.from(sizes, size => parseGranule(size, name, pageSize))
  return [...new Set(bytes)].sort((a, b) => a - b)
}

/** A number as text that has no unit. */
const BARE = /^\s*\d+\s*$/

/** The size of a granule in bytes. Throws ERR_ARGUMENT unless it is a multiple of the page. */
export function parseGranule(size: Size, name: string, pageSize: number): number {
  const isWhole = (bytes: number): boolean => bytes > 0 && bytes % pageSize === 0
  const nearest = (bytes: number): string =>
    formatSize(Math.max(Math.round(bytes / pageSize), 1) * pageSize)
  // So many bytes can be meant. A smaller number is of a larger unit.
  if (typeof size === 'string' && BARE.test(size) && Number(size) >= pageSize)
    throw argumentError(
      `${name}: ${show(size)} has no unit`,
      `Did you mean ${nearest(Number(size))}?`,
    )
  const bytes = parseSize(size, name, isWhole)
  if (isWhole(bytes)) return bytes
  throw argumentError(
    `${name}: ${show(size)} is no multiple of the page size`,
    `Give a multiple of ${formatSize(pageSize)}, such as ${nearest(bytes)}.`,
  )
}
