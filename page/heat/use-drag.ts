/** What a pointer does on the heat map: it points, drags a box, or zooms with the wheel. */

import { useState } from 'preact/hooks'

/** In parts of the width and the height. */
export interface Box {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

interface DragOptions {
  readonly point: (x: number, y: number) => void
  readonly leave: () => void
  readonly choose: (box: Box) => void
  readonly wheel: (y: number, factor: number) => void
}

/** A smaller box is a click. */
const SMALLEST_PX = 6

interface Started {
  readonly x: number
  readonly y: number
  readonly toX: number
  readonly toY: number
}

export function useDrag({ point, leave, choose, wheel }: DragOptions) {
  const [started, setStarted] = useState<Started | undefined>()
  const placeOf = (event: PointerEvent | WheelEvent): { x: number; y: number } => {
    const { left, top, width, height } = (
      event.currentTarget as HTMLElement
    ).getBoundingClientRect()
    const within = (part: number): number => Math.min(Math.max(part, 0), 1)
    return {
      x: within((event.clientX - left) / width),
      y: within((event.clientY - top) / height),
    }
  }
  const handlers = {
    onPointerDown: (event: PointerEvent): void => {
      // A finger scrolls the page.
      if (event.button !== 0 || event.pointerType === 'touch') return
      const { x, y } = placeOf(event)
      const element = event.currentTarget as HTMLElement
      element.setPointerCapture(event.pointerId)
      setStarted({ x, y, toX: x, toY: y })
    },
    onPointerMove: (event: PointerEvent): void => {
      const { x, y } = placeOf(event)
      if (started !== undefined) setStarted({ ...started, toX: x, toY: y })
      point(x, y)
    },
    onPointerUp: (event: PointerEvent): void => {
      if (started === undefined) return
      setStarted(undefined)
      const { width, height } = (event.currentTarget as HTMLElement).getBoundingClientRect()
      const box = boxOf(started)
      const wide = (box.right - box.left) * width
      const high = (box.bottom - box.top) * height
      if (wide >= SMALLEST_PX && high >= SMALLEST_PX) choose(box)
    },
    onPointerLeave: (): void => {
      if (started === undefined) leave()
    },
    onWheel: (event: WheelEvent): void => {
      // Without a key the wheel scrolls the page.
      if (!event.ctrlKey && !event.shiftKey) return
      event.preventDefault()
      wheel(placeOf(event).y, event.deltaY + event.deltaX < 0 ? 1.25 : 0.8)
    },
  }
  const box = started === undefined ? undefined : boxOf(started)
  const percent = (part: number): string => `${part * 100}%`
  return {
    handlers,
    box:
      box === undefined
        ? undefined
        : {
            left: percent(box.left),
            right: percent(1 - box.right),
            top: percent(box.top),
            bottom: percent(1 - box.bottom),
          },
  }
}

const boxOf = ({ x, y, toX, toY }: Started): Box => ({
  left: Math.min(x, toX),
  right: Math.max(x, toX),
  top: Math.min(y, toY),
  bottom: Math.max(y, toY),
})
