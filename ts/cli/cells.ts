/** The option `--cells`, and what the text of a measurement says about its cells. */

import { argumentError } from '../ground/errors.js'
import { formatSize, parseSize } from '../ground/units.js'
import type { DirtyCells } from '../results/cells.js'
import type { Session } from './session.js'
import { count } from './text.js'

/**
 * The option of a measurement. Throws ERR_ARGUMENT, also where the output has no place for cells:
 * only JSON has one, and the text of a single measurement, if `textHasThem`.
 */
export function cellsWanted(
  session: Session,
  cells: string | undefined,
  textHasThem: boolean,
): { cells?: number } {
  if (cells === undefined) return {}
  const bytes = parseSize(cells, '--cells')
  if (session.options.json || textHasThem) return { cells: bytes }
  throw argumentError('--cells: only --json prints the cells here', 'Give --json too.')
}

/** How many cells are dirty, for a text, in which there is no place for each of them. */
export function cellsText({ cellBytes, blocks }: DirtyCells): string {
  const pages = blocks.flatMap(of => of.pages)
  const dirty = pages.filter(one => one > 0).length
  return `${count(dirty)} of ${count(pages.length)} cells of ${formatSize(cellBytes)} are dirty; --json has their pages`
}
