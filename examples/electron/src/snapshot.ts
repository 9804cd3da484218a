/**
 * What the main process measures and the renderer shows. Everything in it is a copy: IPC clones it,
 * and a sandboxed renderer has no other way to it.
 */

import type { VirtualMachine } from 'dirtyrate'

export interface Snapshot {
  bytesPerSecond: number
  pages: number
  /** Dirty pages in each 2 MiB of the block `ram`. */
  heat: Uint32Array<ArrayBuffer>
}

/** Guest memory in one region of a heat map. */
const HEAT_REGION_BYTES = 2 << 20

/** Measures half a second by the five steps, as the bits are wanted besides the figure. */
export async function takeSnapshot({ blocks, dirtyMemory }: VirtualMachine): Promise<Snapshot> {
  const ram = blocks.find(({ name }) => name === 'ram')
  // An array of this process's, for the binding to fill: no runtime has to copy it before it is
  // sent.
  const heat = new Uint32Array(Math.ceil((ram?.bytes ?? 0) / HEAT_REGION_BYTES))
  await dirtyMemory.startTracking('dirty-rate')
  try {
    await dirtyMemory.discardInitialLog()
    await dirtyMemory.clear('dirty-rate')
    await dirtyMemory.syncAt('dirty-rate', [500])
    await dirtyMemory.heat('dirty-rate', 'ram', heat)
    const { bytesPerSecond, pages } = await dirtyMemory.reap('dirty-rate')
    return { bytesPerSecond, pages, heat }
  } finally {
    await dirtyMemory.stopTracking('dirty-rate')
  }
}
