/** Checks the memory and the vCPUs of a machine, and converts them to the form of the binding. */

import { type OptionNames, parseCount, parseOptions } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import { hostProcess } from '../../ground/host-process.js'
import { callNative, native } from '../../ground/native.js'
import { formatSize, parseSize, type Size } from '../../ground/units.js'

/**
 * One RAM block: its unique name, its guest physical address, and its size. Address and size are
 * multiples of the page size.
 */
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

/**
 * The options of a block. A block of `vm.blocks` is accepted too, and its generation is ignored.
 */
const BLOCK: OptionNames<Block & { generation?: number }> = {
  name: true,
  guestAddress: true,
  bytes: true,
  generation: true,
}

/** Reads one block. Throws ERR_ARGUMENT that names it. */
export function parseBlock(block: Block): RamBlock {
  if (
    typeof block !== 'object' ||
    block === null ||
    typeof block.name !== 'string' ||
    block.name === ''
  ) {
    throw argumentError(
      'block: a RAM block needs a name',
      "Give { name: 'ram', guestAddress: 0, bytes: '1GiB' }.",
    )
  }
  const name = `block '${block.name}'`
  parseOptions<Block & { generation?: number }>(block, BLOCK, name)
  const bytes = parseSize(block.bytes, `${name}: bytes`)
  return {
    name: block.name,
    guestAddress: parseSize(block.guestAddress, `${name}: guestAddress`),
    bytes,
  }
}

/**
 * The blocks of `memory`: a size is laid out around the hole below 4 GiB, on x86-64 as in QEMU's
 * `q35`; blocks stay as they are. Throws ERR_ARGUMENT.
 */
export function parseMemory(memory: Size | readonly Block[]): RamBlock[] {
  if (Array.isArray(memory)) {
    if (memory.length === 0)
      throw argumentError(
        'memory: no RAM block',
        "Give a size such as '1GiB', or at least one block.",
      )
    return memory.map(parseBlock)
  }
  const bytes = parseSize(memory as Size, 'memory', isMemory)
  if (bytes === 0) throw argumentError('memory: 0 bytes', "Give a size such as '1GiB'.")
  return callNative(() => native().layoutRam(bytes))
}

/** Whether a machine can have so much memory. A hint proposes only such sizes. */
function isMemory(bytes: number): boolean {
  try {
    return bytes > 0 && native().layoutRam(bytes).length > 0
  } catch {
    return false
  }
}

/**
 * The address at which RAM begins in QEMU's machine `virt` for arm64, and for which kernels are
 * linked.
 */
export const QEMU_ARM64_RAM: number = 2 ** 30

/**
 * The blocks of `memory` for a kernel file. On arm64 they begin where RAM begins in QEMU's `virt`,
 * so that a kernel which is linked for that machine boots here too. Throws ERR_ARGUMENT.
 */
export function memoryForKernel(memory: Size, arch: string = hostProcess.arch): RamBlock[] {
  if (arch !== 'arm64') return parseMemory(memory)
  const bytes = parseSize(memory, 'memory', isMemory)
  const [first, ...others] = parseMemory(bytes === 0 ? 0 : bytes + QEMU_ARM64_RAM)
  if (first === undefined) return others
  return [
    {
      ...first,
      guestAddress: first.guestAddress + QEMU_ARM64_RAM,
      bytes: first.bytes - QEMU_ARM64_RAM,
    },
    ...others,
  ]
}

/**
 * Returns `vcpus` if this kernel allows so many vCPUs. Throws ERR_ARGUMENT, and what
 * `capabilities()` throws.
 */
export function parseVcpus(vcpus: number): number {
  return parseCount(vcpus, 'vcpus', 1, callNative(() => native().capabilities()).vcpus)
}

/** The size of all blocks, as a target URI writes it. */
export function totalSize(blocks: readonly { bytes: number }[]): string {
  return formatSize(blocks.reduce((sum, block) => sum + block.bytes, 0))
}
