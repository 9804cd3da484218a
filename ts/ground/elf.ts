/** Finds in the header of an ELF file why the dynamic linker refuses the file. */

import { Buffer } from 'node:buffer'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

/**
 * The numbers of `e_machine` of the architectures for which there may be a binary, with Node's
 * names for them.
 */
const MACHINES: Readonly<Record<number, string>> = {
  3: 'ia32',
  8: 'mips',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'x64',
  183: 'arm64',
  243: 'riscv64',
  258: 'loong64',
}

const HEADER_BYTES = 64
const SECTION_BYTES = 64

/** A fault of an ELF file. */
export interface ElfFault {
  /** Words that continue a sentence after the file's name: 'is for arm64'. */
  text: string
  /**
   * Whether the dynamic linker must not get the file, because it would map parts that do not exist,
   * and a signal would end the process.
   */
  deadly: boolean
}

/**
 * What is wrong with `file`: it is cut off, its end was never written, or it is for another
 * architecture than `arch`. Undefined if none of these is the case; the dynamic linker reports all
 * other faults itself. Throws what `node:fs` throws.
 */
export function elfFault(file: string, arch: string): ElfFault | undefined {
  const descriptor = openSync(file, 'r')
  try {
    const size = fstatSync(descriptor).size
    const read = (at: number, bytes: number): Buffer => {
      const into = Buffer.alloc(bytes)
      return into.subarray(0, readSync(descriptor, into, 0, bytes, at))
    }
    return faultOf(read, size, arch)
  } finally {
    closeSync(descriptor)
  }
}

function faultOf(
  read: (at: number, bytes: number) => Buffer,
  size: number,
  arch: string,
): ElfFault | undefined {
  const header = read(0, HEADER_BYTES)
  const is64BitLittleEndian = header.length === HEADER_BYTES && header[4] === 2 && header[5] === 1
  if (header.toString('latin1', 0, 4) !== '\x7fELF' || !is64BitLittleEndian) return undefined
  const machine = header.readUInt16LE(18)
  const name = MACHINES[machine] ?? `the machine ${machine}`
  if (name !== arch) return { text: `is for ${name}, and this is ${arch}`, deadly: false }
  // The table of sections is the last part of the file. If a file has no such table, it was
  // stripped, which does no harm.
  const sections = header.readBigUInt64LE(40)
  const count = header.readUInt16LE(60)
  if (sections === 0n || count < 2) return undefined
  const end = Number(sections) + count * SECTION_BYTES
  if (end > size) return { text: `is cut off: it has ${size} of ${end} bytes`, deadly: true }
  const isWritten = read(Number(sections), count * SECTION_BYTES).some(byte => byte !== 0)
  return isWritten ? undefined : { text: 'is damaged: its end is all zeros', deadly: true }
}
