/** The heat map of a VM: the address from the top down, the time from left to right. */

import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { LEFT, RIGHT } from '../charts/plot.js'
import { useSize } from '../charts/use-size.js'
import { clock, memory, safe } from '../format.js'
import type { CellColumn, Layout } from '../state/cells.js'
import type { Vm } from '../state/state.js'
import type { TimeRange } from '../state/time-range.js'
import { addressTicks, seams } from './axis.js'
import { type Cursor, figuresAt, hottestOfRow, moved } from './cursor.js'
import { drawHeatMap } from './draw.js'
import { HottestCells } from './HottestCells.js'
import { Legend } from './Legend.js'
import { paletteOf, type Theme } from './palette.js'
import { RowCache, type RowsView, rowOfCell } from './rows.js'
import { EMPTY_SCALE, type Scale } from './scale.js'
import { timeTicks } from './time-ticks.js'
import { useDrag } from './use-drag.js'

const ZOOM = 2
/** No zoom shows fewer cells. */
const FEWEST_CELLS = 4
const PAGE_SIZE = 4096

interface HeatMapProps {
  readonly vm: Vm
  readonly time: TimeRange
  readonly theme: Theme
  readonly onRange: (range: TimeRange) => void
}

/** The cells in view; all if undefined. */
type Zoom = { readonly layout: Layout; readonly firstCell: number; readonly cells: number }

export function HeatMap({ vm, time, theme, onRange }: HeatMapProps) {
  const columns = useMemo(() => inView(vm, time), [vm.cells, time.from, time.to])
  const layout = columns.at(-1)?.layout ?? vm.cells.at(-1)?.layout
  const [zoom, setZoom] = useState<Zoom | undefined>()
  const [cursor, setCursor] = useState<Cursor | undefined>()
  const [scale, setScale] = useState<Scale>(EMPTY_SCALE)
  const [frame, size] = useSize<HTMLDivElement>()
  const canvas = useRef<HTMLCanvasElement>(null)
  const cache = useRef(new RowCache())
  const ratio = devicePixelRatio
  const palette = paletteOf(theme)
  const view = useMemo<RowsView | undefined>(() => {
    if (layout === undefined || size === undefined) return undefined
    const { firstCell, cells } =
      zoom?.layout === layout ? zoom : { firstCell: 0, cells: layout.cells }
    return { layout, firstCell, cells, rows: Math.max(Math.round(size.height * ratio), 1) }
  }, [layout, size?.height, zoom, ratio])
  useLayoutEffect(() => {
    const context = canvas.current?.getContext('2d')
    if (!context || size === undefined || view === undefined || size.width === 0) return
    const width = Math.round(size.width * ratio)
    if (context.canvas.width !== width) context.canvas.width = width
    if (context.canvas.height !== view.rows) context.canvas.height = view.rows
    const image = context.createImageData(width, view.rows)
    const drawn = drawHeatMap(image, columns, time, view, cache.current, palette)
    context.putImageData(image, 0, 0)
    setScale(before =>
      before.low === drawn.scale.low && before.high === drawn.scale.high ? before : drawn.scale,
    )
  }, [columns, time.from, time.to, view, size?.width, palette, ratio])

  const show = (firstCell: number, cells: number): void => {
    if (layout === undefined) return
    const shown = Math.min(Math.max(Math.round(cells), FEWEST_CELLS), layout.cells)
    const first = Math.min(Math.max(Math.round(firstCell), 0), layout.cells - shown)
    setZoom(shown === layout.cells ? undefined : { layout, firstCell: first, cells: shown })
  }
  /** Zooms around a cell, which stays where it is. */
  const zoomAt = (cell: number, factor: number): void => {
    if (view === undefined) return
    show(cell - (cell - view.firstCell) / factor, view.cells / factor)
  }
  const middle = (): number =>
    cursor?.cell ?? (view === undefined ? 0 : view.firstCell + view.cells / 2)
  const goTo = (next: Cursor): void => {
    setCursor(next)
    if (view === undefined) return
    const { firstCell, cells } = view
    if (next.cell < firstCell) show(next.cell, cells)
    else if (next.cell >= firstCell + cells) show(next.cell - cells + 1, cells)
  }
  /** The window and the cell at a point of the canvas, in parts of its width and height. */
  const cursorAt = (x: number, y: number): Cursor | undefined => {
    if (view === undefined) return undefined
    const at = time.from + x * (time.to - time.from)
    const column = columns.find(one => one.from < at && at <= one.at)
    if (column === undefined || column.layout !== view.layout) return undefined
    const row = Math.min(Math.max(Math.floor(y * view.rows), 0), view.rows - 1)
    return { column, cell: hottestOfRow(column, view, row) }
  }
  const drag = useDrag({
    point: (x, y) => setCursor(cursorAt(x, y)),
    leave: () => setCursor(undefined),
    choose: ({ left, right, top, bottom }) => {
      if (view === undefined) return
      const ms = time.to - time.from
      onRange({ from: time.from + left * ms, to: time.from + right * ms })
      show(view.firstCell + top * view.cells, (bottom - top) * view.cells)
    },
    wheel: (y, factor) => {
      if (view !== undefined) zoomAt(view.firstCell + y * view.cells, factor)
    },
  })
  const press = (event: KeyboardEvent): void => {
    const last = columns.at(-1)
    if (view === undefined || last === undefined) return
    if (event.ctrlKey || event.altKey || event.metaKey) return
    const from = cursor ?? { column: last, cell: Math.floor(view.firstCell + view.cells / 2) }
    const next = moved(from, event.key, columns, view)
    if (next !== undefined) goTo(next)
    else if (event.key === '+') zoomAt(middle(), ZOOM)
    else if (event.key === '-') zoomAt(middle(), 1 / ZOOM)
    else if (event.key === '0') setZoom(undefined)
    else if (event.key === 'Escape') setCursor(undefined)
    else return
    event.preventDefault()
  }
  const figures =
    cursor === undefined ? undefined : figuresAt(cursor, vm.last?.pageSize ?? PAGE_SIZE)
  return (
    <section class="heat" aria-label="Heat map of guest memory">
      <header class="heat-head">
        <h3>Guest memory</h3>
        {layout !== undefined && (
          <p class="quiet">one cell is {memory(layout.cellBytes)} of guest memory</p>
        )}
        <div class="buttons" role="group" aria-label="Zoom of the heat map">
          <button type="button" onClick={() => zoomAt(middle(), ZOOM)}>
            Zoom in
          </button>
          <button type="button" onClick={() => zoomAt(middle(), 1 / ZOOM)} disabled={!zoom}>
            Zoom out
          </button>
          <button type="button" onClick={() => setZoom(undefined)} disabled={!zoom}>
            All memory
          </button>
        </div>
      </header>
      <div class="heat-body">
        <div class="heat-map">
          <div class="heat-y" style={{ width: `${LEFT}px` }} aria-hidden="true">
            <span class="heat-y-name">guest address</span>
            {view !== undefined &&
              addressTicks(view).map(({ place, label }) => (
                <span key={label} class="tick" style={{ top: `${place * 100}%` }}>
                  {safe(label)}
                </span>
              ))}
          </div>
          <div
            class="heat-frame"
            ref={frame}
            {...drag.handlers}
            tabIndex={0}
            role="application"
            aria-roledescription="heat map"
            aria-label="Heat map: guest address by time. Arrow keys move the cursor by cell and by window, plus and minus zoom, 0 shows all memory."
            onKeyDown={press}
            data-testid="heat-map"
          >
            <canvas ref={canvas} />
            {view !== undefined &&
              seams(view).map(({ place, hole, label }) => (
                <i
                  key={label}
                  class={hole > 0 ? 'seam hole' : 'seam'}
                  style={{ top: `${place * 100}%` }}
                  title={safe(label)}
                />
              ))}
            {cursor !== undefined && view !== undefined && (
              <i class="heat-cursor" style={outline(cursor, view, time)} />
            )}
            {drag.box !== undefined && <i class="heat-box" style={drag.box} />}
          </div>
          <div
            class="heat-x"
            style={{ marginLeft: `${LEFT}px`, marginRight: `${RIGHT}px` }}
            aria-hidden="true"
          >
            {timeTicks(time, size?.width ?? 0).map(({ place, label }) => (
              <span key={place} class="tick" style={{ left: `${place * 100}%` }}>
                {label}
              </span>
            ))}
            <span class="heat-x-name">time of day</span>
          </div>
          <p class="heat-readout" aria-live="polite" data-testid="heat-readout">
            {figures === undefined || cursor === undefined ? (
              <span class="quiet">
                Point at a cell, or use the arrow keys, for its figures. Drag to zoom.
              </span>
            ) : (
              <>
                <b>{safe(figures.address)}</b> · {safe(figures.block)}, {figures.bytes} ·{' '}
                {figures.figures} · until {clock(cursor.column.at, true)}
                {!cursor.column.complete && <strong> · incomplete: a lower bound</strong>}
              </>
            )}
          </p>
          <Legend
            scale={scale}
            palette={palette}
            cellsPerRow={view === undefined ? 1 : view.cells / view.rows}
            hasSamples={columns.at(-1)?.packed.blocks.some(({ sampled }) => sampled) ?? false}
            hasHoles={view !== undefined && seams(view).some(({ hole }) => hole > 0)}
          />
        </div>
        <HottestCells
          columns={columns}
          choose={cell => {
            const column = columns.at(-1)
            if (column === undefined) return
            setCursor({ column, cell })
            if (
              view !== undefined &&
              (cell < view.firstCell || cell >= view.firstCell + view.cells)
            )
              show(cell - view.cells / 2, view.cells)
          }}
        />
      </div>
    </section>
  )
}

/** The columns that are in view. */
function inView({ cells }: Vm, { from, to }: TimeRange): CellColumn[] {
  const first = cells.firstWhere(({ at }) => at > from)
  return cells.slice(
    first,
    cells.firstWhere(column => column.from >= to),
  )
}

/** Where the outline of a cell is. */
function outline(
  { column, cell }: Cursor,
  view: RowsView,
  { from, to }: TimeRange,
): Record<string, string> {
  const percent = (part: number): string => `${Math.min(Math.max(part, 0), 1) * 100}%`
  const ms = to - from
  const height = Math.max(1 / view.cells, 1 / view.rows)
  return {
    left: percent((column.from - from) / ms),
    right: percent(1 - (column.at - from) / ms),
    top: percent(
      view.cells > view.rows
        ? rowOfCell(view, cell) / view.rows
        : (cell - view.firstCell) / view.cells,
    ),
    height: percent(height),
  }
}
