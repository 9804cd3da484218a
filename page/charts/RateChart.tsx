/** The dirty rate over time: a step for each window, with its interval as a band around it. */

import { useMemo, useRef, useState } from 'preact/hooks'
import uPlot from 'uplot'
import { clock, intervalText, rate, windowText } from '../format.js'
import type { Theme } from '../heat/palette.js'
import type { MeasuredWindow, Vm } from '../state/state.js'
import type { TimeRange } from '../state/time-range.js'
import { colour, drawGaps, ratePlot } from './plot.js'
import { type Series, seriesOf } from './series.js'
import { usePlot } from './use-plot.js'

const HEIGHT = 210

interface RateChartProps {
  readonly vm: Vm
  readonly time: TimeRange
  readonly theme: Theme
  readonly onRange: (range: TimeRange) => void
}

export function RateChart({ vm, time, theme, onRange }: RateChartProps) {
  const series = useMemo(
    () =>
      seriesOf(vm.moments, time, [
        window => window.bytesPerSecond,
        window => window.interval.low,
        window => window.interval.high ?? window.bytesPerSecond,
      ]),
    [vm.moments, time.from, time.to],
  )
  const data = useMemo(
    () => [series.times, ...series.columns] as unknown as uPlot.AlignedData,
    [series],
  )
  const [chosen, setChosen] = useState<MeasuredWindow | undefined>()
  const newest = useRef(series)
  newest.current = series
  const [ref, plot] = usePlot({
    make: width => optionsOf(width, () => newest.current, setChosen, onRange),
    looks: [theme],
    data,
    time,
  })
  const step = (event: KeyboardEvent): void => {
    const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key]
    const { windows } = series
    const at = chosen === undefined ? windows.length : windows.findIndex(w => w.at === chosen.at)
    const next =
      event.key === 'Home'
        ? 0
        : event.key === 'End'
          ? windows.length - 1
          : by === undefined
            ? undefined
            : Math.min(Math.max(at + by, 0), windows.length - 1)
    const window = next === undefined ? undefined : windows[next]
    if (window === undefined || plot.current === null) return
    event.preventDefault()
    const drawn = plot.current
    const middle = (window.from + window.at) / 2000
    drawn.setCursor({ left: drawn.valToPos(middle, 'x'), top: 10 })
    setChosen(window)
  }
  return (
    <figure class="chart over-time">
      <div
        class="plot"
        ref={ref}
        tabIndex={0}
        role="application"
        aria-roledescription="chart"
        aria-label="Dirty rate over time. The arrow keys go from window to window."
        onKeyDown={step}
        data-testid="rate-chart"
      />
      <figcaption aria-live="polite" data-testid="rate-readout">
        {chosen === undefined ? (
          <span class="quiet">
            Each step is one window. The band is its interval. Drag to choose a time.
          </span>
        ) : (
          <Readout window={chosen} />
        )}
      </figcaption>
    </figure>
  )
}

function Readout({ window }: { window: MeasuredWindow }) {
  return (
    <>
      <b class="readout-figure">{rate(window.bytesPerSecond)}</b>
      {intervalText(window.interval)} · window of {windowText(window.windowNs)}, until{' '}
      {clock(window.at, window.windowNs < 1e9)} · {window.mode}
      {!window.complete && <strong> · incomplete: a lower bound</strong>}
    </>
  )
}

function optionsOf(
  width: number,
  series: () => Series,
  choose: (window: MeasuredWindow | undefined) => void,
  onRange: (range: TimeRange) => void,
): uPlot.Options {
  const { stepped } = uPlot.paths
  const paths = stepped?.({ align: -1 })
  const step = paths === undefined ? {} : { paths }
  const edge = { ...step, stroke: colour('band-edge'), width: 1, points: { show: false } }
  return ratePlot(
    [{ ...step, stroke: colour('accent'), width: 2, points: { show: false } }, edge, edge],
    {
      width,
      height: HEIGHT,
      bands: [{ series: [3, 2], fill: colour('band') }],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      hooks: {
        drawClear: [plot => drawGaps(plot, series().gaps)],
        draw: [plot => drawIncomplete(plot, series().windows)],
        setCursor: [
          plot => {
            const { left = -1 } = plot.cursor
            const at = left < 0 ? -1 : plot.posToVal(left, 'x') * 1000
            choose(series().windows.find(({ from, at: until }) => from < at && at <= until))
          },
        ],
        setSelect: [
          plot => {
            const { left, width: wide } = plot.select
            if (wide < 4) return
            const ms = (x: number): number => plot.posToVal(x, 'x') * 1000
            onRange({ from: ms(left), to: ms(left + wide) })
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
          },
        ],
      },
    },
  )
}

/** An incomplete window is a lower bound: an open triangle points up from its figure. */
function drawIncomplete(plot: uPlot, windows: readonly MeasuredWindow[]): void {
  const { ctx } = plot
  const { pxRatio } = uPlot
  const edge = 5 * pxRatio
  ctx.save()
  ctx.strokeStyle = colour('warn')
  ctx.fillStyle = colour('card')
  ctx.lineWidth = 1.5 * pxRatio
  for (const { from, at, complete, bytesPerSecond } of windows) {
    if (complete) continue
    const x = plot.valToPos((from + at) / 2000, 'x', true)
    const y = plot.valToPos(bytesPerSecond, 'y', true) - edge
    ctx.beginPath()
    ctx.moveTo(x - edge, y + edge)
    ctx.lineTo(x, y - edge)
    ctx.lineTo(x + edge, y + edge)
    ctx.closePath()
    ctx.fill()
    ctx.stroke()
  }
  ctx.restore()
}
