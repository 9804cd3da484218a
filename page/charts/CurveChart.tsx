/** The curve U(t) with the line of the link, both in logarithms. */

import type { DirtyRateCurve } from '../../ts/results/curve.js'
import { bandwidth, duration, intervalText, measuredSize, rate, size } from '../format.js'
import { type Crossing, type CurveDot, crossingOf, dotsOf, rangesOf } from './curve-points.js'
import { useSize } from './use-size.js'

const HEIGHT = 300
const TOP = 14
const BOTTOM = 44
const LEFT = 84
const RIGHT = 16
const RADIUS = 4

interface CurveChartProps {
  readonly curve: DirtyRateCurve
  readonly bytesPerSecond: number
}

export function CurveChart({ curve, bytesPerSecond }: CurveChartProps) {
  const [ref, measured] = useSize<HTMLDivElement>()
  const dots = dotsOf(curve)
  const crossing = crossingOf(dots, bytesPerSecond)
  const width = measured?.width ?? 0
  return (
    <figure class="chart">
      <div ref={ref} class="curve-frame">
        {width > 0 && dots.length > 0 && (
          <Drawing dots={dots} bytesPerSecond={bytesPerSecond} crossing={crossing} width={width} />
        )}
      </div>
      <figcaption>
        <p>{crossingText(crossing, dots, bytesPerSecond)}</p>
        <details>
          <summary>The figures of the curve</summary>
          <Figures curve={curve} dots={dots} />
        </details>
      </figcaption>
    </figure>
  )
}

function crossingText(
  { ahead, seconds }: Crossing,
  dots: readonly CurveDot[],
  bytesPerSecond: number,
): string {
  const link = bandwidth(bytesPerSecond).replace(/ \(.*/, '')
  if (ahead === 'link')
    return `At ${link} the link carries more than the guest dirties, in each window of the curve.`
  if (ahead === 'guest') {
    const longest = duration((dots.at(-1)?.seconds ?? 0) * 1000)
    return `At ${link} the guest dirties more than the link carries, in each window up to ${longest}.`
  }
  return `At ${link} the link carries more than the guest dirties in windows longer than ${duration((seconds ?? 0) * 1000)}.`
}

interface DrawingProps {
  readonly dots: readonly CurveDot[]
  readonly bytesPerSecond: number
  readonly crossing: Crossing
  readonly width: number
}

function Drawing({ dots, bytesPerSecond, crossing, width }: DrawingProps) {
  const { times, bytes } = rangesOf(dots, bytesPerSecond)
  const last = dots.at(-1)?.seconds ?? 1
  const part = (value: number, { low, high }: { low: number; high: number }): number =>
    Math.log(value / low) / Math.log(high / low)
  const x = (seconds: number): number => LEFT + part(seconds, times) * (width - LEFT - RIGHT)
  const y = (value: number): number =>
    TOP + (1 - part(Math.max(value, bytes.low), bytes)) * (HEIGHT - TOP - BOTTOM)
  const line = (values: readonly (readonly [number, number])[]): string =>
    values.map(([seconds, value]) => `${x(seconds).toFixed(1)},${y(value).toFixed(1)}`).join(' ')
  const isBanded = dots.some(({ low, high }) => high > low)
  const band = [
    ...dots.map(({ seconds, high }) => [seconds, Math.min(high, bytes.high)] as const),
    ...[...dots].reverse().map(({ seconds, low }) => [seconds, low] as const),
  ]
  const linkEnd = Math.min(times.high, bytes.high / bytesPerSecond)
  // In the upper half of the line there is room on its left, above it.
  const linkBegin = Math.max(times.low, bytes.low / bytesPerSecond)
  const labelAt = linkBegin * (linkEnd / linkBegin) ** 0.75
  const cross = crossing.seconds
  return (
    <svg
      class="curve"
      width={width}
      height={HEIGHT}
      role="img"
      aria-label="The curve: distinct bytes that the guest dirties, by the length of the window, with the line of the link. The figures are in the table below."
      data-testid="curve-chart"
    >
      {ticks(times, decadeSteps, (width - LEFT) / 64).map(seconds => (
        <g key={seconds}>
          <line class="grid" x1={x(seconds)} x2={x(seconds)} y1={TOP} y2={HEIGHT - BOTTOM} />
          <text class="axis" x={x(seconds)} y={HEIGHT - BOTTOM + 16} text-anchor="middle">
            {duration(seconds * 1000)}
          </text>
        </g>
      ))}
      {ticks(bytes, binarySteps, 8).map(value => (
        <g key={value}>
          <line class="grid" x1={LEFT} x2={width - RIGHT} y1={y(value)} y2={y(value)} />
          <text class="axis" x={LEFT - 8} y={y(value) + 4} text-anchor="end">
            {size(value)}
          </text>
        </g>
      ))}
      <text
        class="axis axis-name"
        x={(LEFT + width - RIGHT) / 2}
        y={HEIGHT - 8}
        text-anchor="middle"
      >
        length of the window
      </text>
      <text
        class="axis axis-name"
        transform={`translate(14 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`}
        text-anchor="middle"
      >
        distinct bytes dirtied
      </text>
      {isBanded && <polygon class="curve-band" points={line(band)} />}
      <polyline
        class="curve-link"
        points={line([
          [linkBegin, bytesPerSecond * linkBegin],
          [linkEnd, bytesPerSecond * linkEnd],
        ])}
      />
      <polyline class="curve-line" points={line(dots.map(dot => [dot.seconds, dot.bytes]))} />
      {dots.map(({ seconds, bytes: value }) => (
        <circle key={seconds} class="curve-dot" cx={x(seconds)} cy={y(value)} r={RADIUS} />
      ))}
      {cross !== undefined && (
        <circle
          class="curve-cross"
          cx={x(cross)}
          cy={y(bytesPerSecond * cross)}
          r={RADIUS * 2}
          data-testid="crossing"
        />
      )}
      <text
        class="curve-link-name"
        x={x(labelAt) - 10}
        y={y(bytesPerSecond * labelAt) - 6}
        text-anchor="end"
      >
        link {bandwidth(bytesPerSecond).replace(/ \(.*/, '')}
      </text>
      <text
        class="curve-name"
        x={x(last) - 6}
        y={y(dots.at(-1)?.bytes ?? bytes.low) + 22}
        text-anchor="end"
      >
        U(t)
      </text>
    </svg>
  )
}

const decadeSteps = (power: number): number[] => [1, 2, 5].map(factor => factor * 10 ** power)
const binarySteps = (power: number): number[] => [1, 4, 16, 64, 256].map(n => n * 1024 ** power)

/** Round values within the range, and not too many of them. */
function ticks(
  { low, high }: { low: number; high: number },
  steps: (power: number) => number[],
  most: number,
): number[] {
  const values = Array.from({ length: 24 }, (_, at) => steps(at - 9))
    .flat()
    .filter(value => value >= low && value <= high)
  const every = Math.ceil(values.length / Math.max(most, 1))
  return values.filter((_, at) => at % every === 0)
}

function Figures({ curve, dots }: { curve: DirtyRateCurve; dots: readonly CurveDot[] }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="The figures of the curve">
      <table>
        <thead>
          <tr>
            <th scope="col">window</th>
            <th scope="col" class="number">
              distinct
            </th>
            <th scope="col" class="number">
              rate
            </th>
            <th scope="col">interval</th>
          </tr>
        </thead>
        <tbody>
          {curve.points.map((point, at) => (
            <tr key={point.requestedMs}>
              <th scope="row">{duration(point.windowNs / 1e6)}</th>
              <td class="number">{measuredSize(dots[at]?.bytes ?? 0)}</td>
              <td class="number">{rate(point.bytesPerSecond)}</td>
              <td>{intervalText(point.interval)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
