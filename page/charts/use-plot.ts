/** One uPlot for as long as its look is the same; its data change beneath it. */

import type { RefObject } from 'preact'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import type { TimeRange } from '../state/time-range.js'
import { useSize } from './use-size.js'

interface PlotOptions {
  /** Makes the options; made again when one of `looks` changes. */
  readonly make: (width: number) => uPlot.Options
  readonly looks: readonly unknown[]
  readonly data: uPlot.AlignedData
  readonly time: TimeRange
}

export function usePlot({
  make,
  looks,
  data,
  time,
}: PlotOptions): [RefObject<HTMLDivElement | null>, RefObject<uPlot | null>] {
  const [ref, size] = useSize<HTMLDivElement>()
  const plot = useRef<uPlot>(null)
  const width = size?.width ?? 0
  const show = (drawn: uPlot): void => {
    drawn.batch(() => {
      drawn.setData(data, false)
      drawn.setScale('x', { min: time.from / 1000, max: time.to / 1000 })
    })
  }
  useLayoutEffect(() => {
    if (ref.current === null || width === 0) return undefined
    const made = new uPlot(make(width), data, ref.current)
    plot.current = made
    show(made)
    return () => {
      made.destroy()
      plot.current = null
    }
  }, [width === 0, ...looks])
  useEffect(() => {
    const drawn = plot.current
    if (drawn !== null && width > 0 && drawn.width !== width)
      drawn.setSize({ width, height: drawn.height })
  }, [width])
  useLayoutEffect(() => {
    if (plot.current !== null) show(plot.current)
  }, [data, time.from, time.to])
  return [ref, plot]
}
