/**
 * The page: asks for one snapshot after the other and paints it. It has no Node and no native code.
 */

import type { Snapshot } from './snapshot.js'

declare global {
  interface Window {
    dirtyrate: { snapshot(): Promise<Snapshot> }
  }
}

/** Pages of 4 KiB in one region of the heat map. */
const PAGES_PER_REGION = 512
const COLUMNS = 32

const text = document.querySelector('p')
const canvas = document.querySelector('canvas')
const context = canvas?.getContext('2d')
if (!text || !canvas || !context) throw new Error('index.html has a p and a canvas')

function paint(heat: Uint32Array, into: HTMLCanvasElement, on: CanvasRenderingContext2D): void {
  const cell = into.width / COLUMNS
  heat.forEach((pages, region) => {
    on.fillStyle = `hsl(${240 - (240 * pages) / PAGES_PER_REGION} 80% 50%)`
    on.fillRect((region % COLUMNS) * cell, Math.floor(region / COLUMNS) * cell, cell - 1, cell - 1)
  })
}

while (true) {
  const { bytesPerSecond, pages, heat } = await window.dirtyrate.snapshot()
  text.textContent = `${(bytesPerSecond / 2 ** 20).toFixed(1)} MiB/s, ${pages} pages`
  paint(heat, canvas, context)
}
