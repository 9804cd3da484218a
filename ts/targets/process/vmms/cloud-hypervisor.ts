/**
 * Cloud Hypervisor. Its RAM is anonymous memory with MADV_DONTDUMP, or a memfd named `ch_ram`. On
 * x86 the part above 4 GiB lies below the other part in the process's memory, and the two are one
 * mapping.
 */

import { formatSize } from '../../../ground/units.js'
import { isAnonymous, isData } from '../maps.js'
import { type CommandLine, memoryIn, optionOf, partOf, vcpusIn } from './command-line.js'
import { LEAST_RAM, named, splitAtHole, type Vmm } from './vmm.js'

/** The RAM below the hole. */
const LOW = 3 * 2 ** 30

function readCommandLine(words: readonly string[]): CommandLine {
  return {
    ...memoryIn(partOf(optionOf(words, '--memory'), 'size')),
    ...vcpusIn(partOf(optionOf(words, '--cpus'), 'boot')),
  }
}

export const cloudHypervisor: Vmm = {
  id: 'cloud-hypervisor',
  isTested: false,
  looksFor: "anonymous memory with MADV_DONTDUMP, or a memfd 'ch_ram'",
  readCommandLine,
  find({ commandLine, mappings }, minBytes = LEAST_RAM) {
    const taken = mappings.filter(
      mapping =>
        isData(mapping) &&
        mapping.bytes >= minBytes &&
        (mapping.path.startsWith('/memfd:ch_ram') ||
          (isAnonymous(mapping) && mapping.flags.has('dd'))),
    )
    const why = [
      `This is the memory of ${formatSize(minBytes)} and more that is not dumped, or that is a memfd 'ch_ram'.`,
    ]
    const [only] = taken
    if (
      taken.length === 1 &&
      only !== undefined &&
      only.bytes === readCommandLine(commandLine).memoryBytes
    )
      return { ranges: splitAtHole(only, LOW, 'high-first'), why }
    return { ranges: named(taken), why: taken.length === 0 ? [] : why }
  },
}
