/** The memory and the vCPUs of a machine as a caller gives them, checked and in the form that the binding takes. */

import { argumentError } from './errors.js'
import { callNative, native } from './native.js'
import { formatSize, parseCount, parseSize, type Size } from './units.js'

/** One RAM block: a name of its own, its guest physical address, and its size; both multiples of the page size. */
export interface Block {
  name: string
  guestAddress: Size
  bytes: Size
}

/** A {@link Block} in bytes. */
export interface RamBlock {
  name: string
  guestAddress: number
  bytes: number
}

/** Refuses an array over shared memory: another thread could write what the core reads or fills. Throws ERR_ARGUMENT. */
export function notShared(array: ArrayBufferView, name: string): void {
  if (!ArrayBuffer.isView(array) || array.buffer instanceof SharedArrayBuffer) {
    throw argumentError(
      `${name}: not a typed array over memory of its own`,
      'Give one over an ArrayBuffer, not a SharedArrayBuffer.',
    )
  }
}

/** Reads one block. Throws ERR_ARGUMENT that names it. */
export function parseBlock(block: Block): RamBlock {
  if (typeof block !== 'object' || block === null || typeof block.name !== 'string' || block.name === '') {
    throw argumentError(
      'block: a RAM block needs a name',
      "Give { name: 'ram', guestAddress: 0, bytes: '1GiB' }.",
    )
  }
  const name = `block '${block.name}'`
  const bytes = parseSize(block.bytes, `${name}: bytes`)
  return { name: block.name, guestAddress: parseSize(block.guestAddress, `${name}: guestAddress`), bytes }
}

/** `memory: SIZE` laid out around the hole below 4 GiB, or the blocks as given. Throws ERR_ARGUMENT. */
export function parseMemory(memory: Size | readonly Block[]): RamBlock[] {
  if (Array.isArray(memory)) {
    if (memory.length === 0)
      throw argumentError('memory: no RAM block', "Give a size such as '1GiB', or at least one block.")
    return memory.map(parseBlock)
  }
  const bytes = parseSize(memory as Size, 'memory')
  if (bytes === 0) throw argumentError('memory: 0 bytes', "Give a size such as '1GiB'.")
  return callNative(() => native().layoutRam(bytes))
}

/** A number of vCPUs that this kernel allows. Throws ERR_ARGUMENT, and as `capabilities()` does. */
export function parseVcpus(vcpus: number): number {
  return parseCount(vcpus, 'vcpus', 1, callNative(() => native().capabilities()).vcpus)
}

/** The size of all blocks, as a target URI writes it. */
export function totalSize(blocks: readonly { bytes: number }[]): string {
  return formatSize(blocks.reduce((sum, block) => sum + block.bytes, 0))
}
