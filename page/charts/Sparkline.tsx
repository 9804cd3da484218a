/** The newest windows of a VM as a small line. Its figures stand beside it. */

import type { Vm } from '../state/state.js'
import { newestWindows } from '../state/trend.js'

const WIDTH = 96
const HEIGHT = 24
const WINDOWS = 48

export function Sparkline({ vm }: { vm: Vm }) {
  const windows = newestWindows(vm.moments, WINDOWS)
  const most = Math.max(...windows.map(({ bytesPerSecond }) => bytesPerSecond), 1)
  const step = WIDTH / (WINDOWS - 1)
  const first = WIDTH - step * (windows.length - 1)
  const points = windows.map(({ bytesPerSecond }, at) => {
    const y = HEIGHT - 2 - (bytesPerSecond / most) * (HEIGHT - 4)
    return `${(first + at * step).toFixed(1)},${y.toFixed(1)}`
  })
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <line class="sparkline-base" x1="0" x2={WIDTH} y1={HEIGHT - 1} y2={HEIGHT - 1} />
      {points.length > 1 && <polyline class="sparkline-line" points={points.join(' ')} />}
    </svg>
  )
}
