/** What the charts over time share: uPlot in the look of the page. */

import uPlot from 'uplot'
import { size } from '../format.js'
import { timeTicks } from '../heat/time-ticks.js'
import type { GapRange } from './series.js'

/** The room on the left of each chart over time, so that their times are below each other. */
export const LEFT = 84
export const RIGHT = 12

/** Colours come from the style sheet, which knows the theme. */
export function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
}

const BINARY_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500].flatMap(factor =>
  [0, 1, 2, 3, 4].map(power => factor * 1024 ** power),
)

export const FONT = '12px system-ui, sans-serif'

/** A rate chart begins at 0: a part of a scale would make small changes look large. */
export function ratePlot(
  series: uPlot.Series[],
  { height, width, ...more }: Pick<uPlot.Options, 'width' | 'height'> & Partial<uPlot.Options>,
): uPlot.Options {
  const axis = {
    stroke: colour('ink-2'),
    font: FONT,
    grid: { stroke: colour('line'), width: 1 },
    ticks: { show: false },
  }
  return {
    width,
    height,
    padding: [10, RIGHT, 0, 0],
    legend: { show: false },
    scales: {
      x: { time: true },
      y: { range: (_, __, most) => [0, most > 0 ? most * 1.12 : 1024 ** 2] },
    },
    axes: [
      {
        ...axis,
        size: 28,
        splits: (plot, _, min, max) =>
          timeTicks({ from: min * 1000, to: max * 1000 }, plot.bbox.width / uPlot.pxRatio).map(
            ({ at }) => at / 1000,
          ),
        values: (plot, splits) => {
          const { min = 0, max = 1 } = plot.scales.x ?? {}
          const labels = new Map(
            timeTicks(
              { from: (min ?? 0) * 1000, to: (max ?? 1) * 1000 },
              plot.bbox.width / uPlot.pxRatio,
            ).map(({ at, label }) => [at / 1000, label]),
          )
          return splits.map(split => labels.get(split) ?? '')
        },
      },
      {
        ...axis,
        size: LEFT,
        incrs: BINARY_STEPS.sort((a, b) => a - b),
        values: (_, splits) => splits.map(value => (value === 0 ? '0' : `${size(value)}/s`)),
      },
    ],
    series: [{}, ...series],
    ...more,
  }
}

/** Draws the parts without figures below the lines, hatched, and says why if there is room. */
export function drawGaps(plot: uPlot, gaps: readonly GapRange[]): void {
  const { ctx, bbox } = plot
  const { pxRatio } = uPlot
  ctx.save()
  ctx.beginPath()
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height)
  ctx.clip()
  for (const { from, to, why } of gaps) {
    const left = plot.valToPos(from / 1000, 'x', true)
    const right = plot.valToPos(to / 1000, 'x', true)
    const width = Math.max(right - left, 2 * pxRatio)
    ctx.fillStyle = hatched(ctx, why === 'failed' ? colour('bad-soft') : colour('line'))
    ctx.fillRect(left, bbox.top, width, bbox.height)
    if (why === 'between') continue
    ctx.font = `${11 * pxRatio}px system-ui, sans-serif`
    const label = LABELS[why]
    const room = ctx.measureText(label).width + 12 * pxRatio
    if (Math.min(right, bbox.left + bbox.width) - Math.max(left, bbox.left) < room) continue
    const middle = (Math.max(left, bbox.left) + Math.min(right, bbox.left + bbox.width)) / 2
    ctx.fillStyle = colour('card')
    ctx.fillRect(middle - room / 2, bbox.top + 6 * pxRatio, room, 18 * pxRatio)
    ctx.fillStyle = colour('ink-2')
    ctx.textAlign = 'center'
    ctx.textBaseline = 'middle'
    ctx.fillText(label, middle, bbox.top + 15 * pxRatio)
  }
  ctx.restore()
}

const LABELS: Readonly<Record<GapRange['why'], string>> = {
  between: '',
  failed: 'failed',
  paused: 'paused',
  migrating: 'migrating',
  missed: 'missed',
  gone: 'not served',
}

/** Lines of 45 degrees. */
function hatched(ctx: CanvasRenderingContext2D, stroke: string): CanvasPattern | string {
  const tile = document.createElement('canvas')
  const edge = 8 * uPlot.pxRatio
  tile.width = edge
  tile.height = edge
  const paint = tile.getContext('2d')
  if (paint === null) return stroke
  paint.strokeStyle = stroke
  paint.lineWidth = 1.5 * uPlot.pxRatio
  for (const shift of [-edge, 0, edge]) {
    paint.beginPath()
    paint.moveTo(shift, edge)
    paint.lineTo(shift + edge, 0)
    paint.stroke()
  }
  return ctx.createPattern(tile, 'repeat') ?? stroke
}
