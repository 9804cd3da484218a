/** What the colours and the patterns of a heat map mean. */

import { pagesPerSecond } from '../format.js'
import type { Palette } from './palette.js'
import { type Scale, ticksOf } from './scale.js'

interface LegendProps {
  readonly scale: Scale
  readonly palette: Palette
  readonly cellsPerRow: number
  readonly hasSamples: boolean
  readonly hasHoles: boolean
}

export function Legend({ scale, palette, cellsPerRow, hasSamples, hasHoles }: LegendProps) {
  const gradient = `linear-gradient(to right, ${palette.css.filter((_, at) => at % 16 === 1 || at === 255).join(', ')})`
  return (
    <div class="legend">
      <div class="legend-scale">
        <span class="legend-title">pages per second</span>
        <span class="legend-clean">
          <i style={{ background: palette.css[0] ?? '' }} />0
        </span>
        <span class="legend-ramp">
          <i style={{ background: gradient }} />
          {ticksOf(scale).map(({ rate, place }) => (
            <span key={rate} style={{ left: `${place * 100}%` }}>
              {short(rate)}
            </span>
          ))}
        </span>
      </div>
      <ul class="legend-keys">
        <li>
          <i class="key-nothing" /> not measured
        </li>
        <li>
          <i class="key-incomplete" /> incomplete window
        </li>
        {hasSamples && (
          <li>
            <i class="key-unknown" /> no page sampled
          </li>
        )}
        {hasHoles && (
          <li>
            <i class="key-hole" /> addresses without memory, left out
          </li>
        )}
        {cellsPerRow > 1 && (
          <li class="quiet">a line shows the hottest of {Math.ceil(cellsPerRow)} cells</li>
        )}
      </ul>
    </div>
  )
}

const short = (rate: number): string =>
  rate >= 1e6 ? `${rate / 1e6}M` : rate >= 1e3 ? `${rate / 1e3}k` : pagesPerSecond(rate)
