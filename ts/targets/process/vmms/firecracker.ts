/**
 * Firecracker. Its RAM is anonymous memory, or after a restore the file of a snapshot. On x86 the
 * part above 4 GiB lies below the other part in the process's memory, and the two are one mapping.
 */

import { join, resolve } from 'node:path'
import { linkOf, readText } from '../../../ground/proc.js'
import { formatSize } from '../../../ground/units.js'
import { type CommandLine, MIB, memoryIn, nameIn, optionOf, vcpusIn } from './command-line.js'
import { LEAST_RAM, mayBeRam, named, splitAtHole, type Vmm } from './vmm.js'

/** The RAM below the hole. */
const LOW = 3 * 2 ** 30

/** What a configuration says. Its path is that of a file which the process sees. */
function configured(file: string | undefined, pid: number): CommandLine {
  if (file === undefined) return {}
  const seen = resolve(linkOf(pid, 'cwd') ?? '/', file)
  try {
    const machine = JSON.parse(readText(join(`/proc/${pid}/root`, seen)) ?? '')['machine-config']
    return {
      ...vcpusIn(String(machine?.vcpu_count)),
      ...memoryIn(String(machine?.mem_size_mib), MIB),
    }
  } catch {
    // It is not the JSON that Firecracker reads, or it has changed since.
    return {}
  }
}

export const firecracker: Vmm = {
  id: 'firecracker',
  isTested: false,
  looksFor: 'anonymous memory, or a mapped file',
  readCommandLine: (words, pid) => ({
    ...configured(optionOf(words, '--config-file'), pid),
    ...nameIn(optionOf(words, '--id')),
  }),
  find({ mappings }, minBytes = LEAST_RAM) {
    const taken = mappings.filter(mapping => mayBeRam(mapping) && mapping.bytes >= minBytes)
    const why = [`This is the memory of ${formatSize(minBytes)} and more.`]
    const [only] = taken
    if (taken.length === 1 && only !== undefined)
      return { ranges: splitAtHole(only, LOW, 'high-first'), why }
    return { ranges: named(taken), why: taken.length === 0 ? [] : why }
  },
}
