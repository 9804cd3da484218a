/** The rates of the vCPUs, one on top of the other. */

import { useMemo } from 'preact/hooks'
import uPlot from 'uplot'
import { rate } from '../format.js'
import type { Theme } from '../heat/palette.js'
import type { MeasuredWindow, Vm } from '../state/state.js'
import type { TimeRange } from '../state/time-range.js'
import { colour, drawGaps, ratePlot } from './plot.js'
import { seriesOf } from './series.js'
import { usePlot } from './use-plot.js'

const HEIGHT = 170
/** More layers cannot be told apart. The others are one layer. */
const MOST_LAYERS = 8

/** A vCPU, or all those that have no layer of their own. */
interface Layer {
  readonly label: string
  readonly of: (window: MeasuredWindow) => number
}

/** The layers from the lowest one up: by number, and those that write least together on top. */
export function layersOf(last: MeasuredWindow): Layer[] {
  const vcpus = last.vcpus ?? []
  const own =
    vcpus.length <= MOST_LAYERS
      ? vcpus
      : [...vcpus].sort((a, b) => b.bytesPerSecond - a.bytesPerSecond).slice(0, MOST_LAYERS - 1)
  const ids = own.map(({ id }) => id).sort((a, b) => a - b)
  const rateOf = (window: MeasuredWindow, isIn: (id: number) => boolean): number =>
    (window.vcpus ?? []).reduce(
      (sum, { id, bytesPerSecond }) => sum + (isIn(id) ? bytesPerSecond : 0),
      0,
    )
  const layers: Layer[] = ids.map(id => ({
    label: `vCPU ${id}`,
    of: window => rateOf(window, one => one === id),
  }))
  const others = vcpus.length - ids.length
  if (others > 0)
    layers.push({
      label: `${others} other vCPUs`,
      of: window => rateOf(window, id => !ids.includes(id)),
    })
  return layers
}

interface VcpuChartProps {
  readonly vm: Vm
  readonly last: MeasuredWindow
  readonly time: TimeRange
  readonly theme: Theme
}

export function VcpuChart({ vm, last, time, theme }: VcpuChartProps) {
  const key = layersOf(last)
    .map(({ label }) => label)
    .join()
  const layers = useMemo(() => layersOf(last), [key])
  const series = useMemo(() => {
    // Each line is the sum of its layer and of those below it.
    const sums = layers.map(
      (_, at) => (window: MeasuredWindow) =>
        layers.slice(0, at + 1).reduce((sum, { of }) => sum + of(window), 0),
    )
    return seriesOf(vm.moments, time, sums.reverse())
  }, [vm.moments, time.from, time.to, layers])
  const data = useMemo(
    () => [series.times, ...series.columns] as unknown as uPlot.AlignedData,
    [series],
  )
  const [ref] = usePlot({
    make: width => optionsOf(width, layers.length, () => series.gaps),
    looks: [theme, key],
    data,
    time,
  })
  const all = layers.reduce((sum, { of }) => sum + of(last), 0)
  return (
    <figure class="chart over-time">
      <div class="plot" ref={ref} aria-hidden="true" data-testid="vcpu-chart" />
      <figcaption>
        <ul class="layers">
          {layers.map(({ label, of }, at) => (
            <li key={label}>
              <span class={`swatch layer-${at}`} aria-hidden="true" />
              {label} <b>{rate(of(last))}</b>{' '}
              <span class="quiet">{all > 0 ? Math.round((of(last) / all) * 100) : 0} %</span>
            </li>
          ))}
        </ul>
        <p class="quiet">
          From the lowest layer up. A page that several vCPUs wrote counts for each of them.
        </p>
      </figcaption>
    </figure>
  )
}

function optionsOf(
  width: number,
  layers: number,
  gaps: () => Parameters<typeof drawGaps>[1],
): uPlot.Options {
  const { stepped } = uPlot.paths
  const paths = stepped?.({ align: -1 })
  // The highest sum is drawn first, and the others cover it from below.
  const series = Array.from({ length: layers }, (_, at) => ({
    ...(paths === undefined ? {} : { paths }),
    stroke: colour('card'),
    width: 1,
    fill: colour(`layer-${layers - 1 - at}`),
    points: { show: false },
  }))
  return ratePlot(series, {
    width,
    height: HEIGHT,
    cursor: { show: false },
    hooks: { drawClear: [plot => drawGaps(plot, gaps())] },
  })
}
