/**
 * Cloud Hypervisor. Its RAM is anonymous memory with MADV_DONTDUMP, or a memfd named `ch_ram`. On
 * x86 the part above 4 GiB lies below the other part in the process's memory, and the two are one
 * mapping.
 */

import { formatSize } from '../../../ground/units.js'
import { isAnonymous, isData } from '../maps.js'
import { LEAST_RAM, named, splitAtHole, type Vmm } from './vmm.js'

/** The RAM below the hole. */
const LOW = 3 * 2 ** 30
const UNITS: Readonly<Record<string, number>> = { K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }

/** The size that `--memory` gives, if it gives one and nothing that adds other memory. */
function ramSize(commandLine: readonly string[]): number | undefined {
  const at = commandLine.indexOf('--memory')
  const text = at < 0 ? '' : (commandLine[at + 1] ?? '')
  const [, number, unit = ''] = /(?:^|,)size=(\d+)([KMGT]?)(?:,|$)/.exec(text) ?? []
  return number === undefined ? undefined : Number(number) * (UNITS[unit] ?? 1)
}

export const cloudHypervisor: Vmm = {
  name: 'Cloud Hypervisor',
  isTested: false,
  looksFor: "anonymous memory with MADV_DONTDUMP, or a memfd 'ch_ram'",
  recognises: ({ program }) => program.startsWith('cloud-hypervisor'),
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
    if (taken.length === 1 && only !== undefined && only.bytes === ramSize(commandLine))
      return { ranges: splitAtHole(only, LOW, 'high-first'), why }
    return { ranges: named(taken), why: taken.length === 0 ? [] : why }
  },
}
