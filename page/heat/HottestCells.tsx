/** The hottest cells as a table, beside the heat map. */

import { useMemo } from 'preact/hooks'
import { memory, pagesPerSecond, safe } from '../format.js'
import type { CellColumn } from '../state/cells.js'
import { hottestCells } from './hottest.js'

const MOST = 10
/** The windows whose mean counts: the newest ones in view. */
const WINDOWS = 20

interface HottestCellsProps {
  readonly columns: readonly CellColumn[]
  readonly choose: (cell: number) => void
}

export function HottestCells({ columns, choose }: HottestCellsProps) {
  const newest = columns.slice(-WINDOWS)
  const first = newest[0]
  const last = newest.at(-1)
  // Rows that change ten times a second cannot be read.
  const second = Math.floor((last?.at ?? 0) / 1000)
  const hottest = useMemo(
    () => hottestCells(newest, MOST),
    [second, first?.layout, columns.length < WINDOWS],
  )
  const windows = newest.filter(({ layout }) => layout === last?.layout).length
  return (
    <section class="hottest" aria-label="Hottest cells">
      <h4>Hottest cells</h4>
      <p class="quiet">
        {windows === 1
          ? 'In the newest window in view.'
          : `Mean of the newest ${windows} windows in view.`}
      </p>
      {hottest.length === 0 ? (
        <p>No cell has dirty pages.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">address</th>
              <th scope="col" class="number">
                pages/s
              </th>
              <th scope="col" class="number">
                part
              </th>
            </tr>
          </thead>
          <tbody>
            {hottest.map(({ cell, address, place, pagesPerSecond: rate, share }) => (
              <tr key={cell}>
                <td>
                  <button
                    type="button"
                    class="link"
                    onClick={() => choose(cell)}
                    title={`${safe(place.block.block)}, ${memory(place.bytes)}: show it`}
                  >
                    {safe(address)}
                  </button>
                </td>
                <td class="number">{pagesPerSecond(rate)}</td>
                <td class="number">{Math.round(share * 100)} %</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  )
}
