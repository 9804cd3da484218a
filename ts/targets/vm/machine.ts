/** Converts the machine of a VM to the options of a target URI, and back. */

import { parseChoice } from '../../ground/arguments.js'
import { argumentError } from '../../ground/errors.js'
import type { NativeCreateOptions } from '../../ground/native.js'
import { formatSize, parseSize } from '../../ground/units.js'
import type { Given } from '../scheme.js'
import { type CreateOptions, manualProtects, unknownMmios } from './create-options.js'
import { type Block, parseMemory, type RamBlock, totalSize } from './memory.js'

/**
 * The options of a machine beside memory, vCPUs and log, in the form of a target URI. Defaults are
 * left out.
 */
export function uriOfCreation({
  manualProtect,
  unknownMmio,
  clearChunkBytes,
}: Pick<NativeCreateOptions, 'manualProtect' | 'unknownMmio' | 'clearChunkBytes'>): [
  string,
  string,
][] {
  const isAsked = (choice: string | undefined): choice is string =>
    choice !== undefined && choice !== 'auto'
  return [
    ...(isAsked(manualProtect) ? [['manual-protect', manualProtect] as [string, string]] : []),
    ...(isAsked(unknownMmio) ? [['unknown-mmio', unknownMmio] as [string, string]] : []),
    ...(clearChunkBytes === undefined
      ? []
      : [['clear-chunk', formatSize(clearChunkBytes)] as [string, string]]),
  ]
}

/** The opposite of {@link uriOfCreation}. Throws ERR_ARGUMENT. */
export function creationOfUri(
  given: Given,
): Pick<CreateOptions, 'manualProtect' | 'unknownMmio' | 'clearChunk'> {
  const { 'manual-protect': protect, 'unknown-mmio': mmio, 'clear-chunk': chunk } = given
  return {
    manualProtect:
      protect === undefined ? undefined : parseChoice(protect, 'manual-protect', manualProtects),
    unknownMmio: mmio === undefined ? undefined : parseChoice(mmio, 'unknown-mmio', unknownMmios),
    clearChunk: chunk === undefined ? undefined : parseSize(chunk, 'clear-chunk'),
  }
}

/**
 * The blocks as the option `memory`. This is their total size if `layOut` makes the same blocks
 * from it, and otherwise a list: `low@0B+1GiB:high@4GiB+1GiB`. Without a block it is `0B`, which
 * cannot be opened.
 */
export function uriOfMemory(
  blocks: readonly RamBlock[],
  layOut: (bytes: string) => readonly RamBlock[] = parseMemory,
): string {
  const size = totalSize(blocks)
  return blocks.length === 0 || isSameMemory(blocks, layOut, size)
    ? size
    : blocks
        .map(
          ({ name, guestAddress, bytes }) =>
            `${escapeName(name)}@${formatSize(guestAddress)}+${formatSize(bytes)}`,
        )
        .join(':')
}

function isSameMemory(
  blocks: readonly RamBlock[],
  layOut: (bytes: string) => readonly RamBlock[],
  size: string,
): boolean {
  const text = (memory: readonly RamBlock[]): string =>
    JSON.stringify(memory.map(({ name, guestAddress, bytes }) => [name, guestAddress, bytes]))
  try {
    return text(layOut(size)) === text(blocks)
  } catch {
    // `layOut` refuses this size, so the blocks cannot come from it.
    return false
  }
}

/** The option `memory`: a size, or blocks. Throws ERR_ARGUMENT. */
export function memoryOfUri(text: string): string | Block[] {
  if (!text.includes('@')) return text
  return text.split(':').map(block => {
    const [, name, guestAddress, bytes] = /^([^@+]+)@([^@+]+)\+([^@+]+)$/s.exec(block) ?? []
    if (name === undefined || guestAddress === undefined || bytes === undefined) {
      throw argumentError(
        `memory: '${block}' is not a RAM block`,
        "Write blocks as memory=low@0B+2GiB:high@4GiB+2GiB; in a name, '@', '+', ':' and '%' are %40, %2B, %3A and %25.",
      )
    }
    return { name: unescapeName(name), guestAddress, bytes }
  })
}

const escapeName = (name: string): string =>
  name.replaceAll(/[%@+:]/g, sign => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)

const unescapeName = (name: string): string =>
  name.replaceAll(/%(25|40|2B|3A)/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  )
