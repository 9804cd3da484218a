/** The memory and the vCPUs of a machine as a caller gives them, checked and in the form that the binding takes. */

import { type OptionNames, parseCount, parseOptions } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import { callNative, native } from '../../ground/native.js'
import { formatSize, parseSize, type Size } from '../../ground/units.js'

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

/** A block of `vm.blocks` is a block too: nothing is made of its generation. */
const BLOCK: OptionNames<Block & { generation?: number }> = {
  name: true,
  guestAddress: true,
  bytes: true,
  generation: true,
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
  parseOptions<Block & { generation?: number }>(block, BLOCK, name)
  const bytes = parseSize(block.bytes, `${name}: bytes`)
  return { name: block.name, guestAddress: parseSize(block.guestAddress, `${name}: guestAddress`), bytes }
}

/** `memory: SIZE` laid out around the hole below 4 GiB, on x86-64 as QEMU's `q35` has it, or the blocks as given. Throws ERR_ARGUMENT. */
export function parseMemory(memory: Size | readonly Block[]): RamBlock[] {
  if (Array.isArray(memory)) {
    if (memory.length === 0)
      throw argumentError('memory: no RAM block', "Give a size such as '1GiB', or at least one block.")
    return memory.map(parseBlock)
  }
  const bytes = parseSize(memory as Size, 'memory', isMemory)
  if (bytes === 0) throw argumentError('memory: 0 bytes', "Give a size such as '1GiB'.")
  return callNative(() => native().layoutRam(bytes))
}

/** Whether a machine can have so much memory: a hint proposes nothing else. */
function isMemory(bytes: number): boolean {
  try {
    return bytes > 0 && native().layoutRam(bytes).length > 0
  } catch {
    return false
  }
}

/** Where the `virt` machine of QEMU for arm64 has its RAM, and where files for it are linked. */
export const QEMU_ARM64_RAM: number = 2 ** 30

/**
 * `memory: SIZE` for a kernel file: on arm64 from where QEMU's `virt` has it, so that what is linked for that boots here too. Throws
 * ERR_ARGUMENT.
 */
export function memoryForKernel(memory: Size, arch: string = process.arch): RamBlock[] {
  if (arch !== 'arm64') return parseMemory(memory)
  const bytes = parseSize(memory, 'memory', isMemory)
  const [first, ...others] = parseMemory(bytes === 0 ? 0 : bytes + QEMU_ARM64_RAM)
  if (first === undefined) return others
  return [
    { ...first, guestAddress: first.guestAddress + QEMU_ARM64_RAM, bytes: first.bytes - QEMU_ARM64_RAM },
    ...others,
  ]
}

/** A number of vCPUs that this kernel allows. Throws ERR_ARGUMENT, and as `capabilities()` does. */
export function parseVcpus(vcpus: number): number {
  return parseCount(vcpus, 'vcpus', 1, callNative(() => native().capabilities()).vcpus)
}

/** The size of all blocks, as a target URI writes it. */
export function totalSize(blocks: readonly { bytes: number }[]): string {
  return formatSize(blocks.reduce((sum, block) => sum + block.bytes, 0))
}
