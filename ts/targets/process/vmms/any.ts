/** Any other VMM: its RAM is what is large. */

import { formatSize } from '../../../ground/units.js'
import { LEAST_RAM, mayBeRam, named, type Vmm } from './vmm.js'

export const anyVmm: Vmm = {
  isTested: false,
  looksFor: 'writable memory',
  leastBytes: LEAST_RAM,
  find({ vcpus, mappings }, minBytes) {
    // What is large in a program that has no vCPU need not be a guest's.
    if (vcpus === 0 && minBytes === undefined) return { ranges: [], why: [] }
    const least = minBytes ?? LEAST_RAM
    const taken = mappings.filter(mapping => mayBeRam(mapping) && mapping.bytes >= least)
    const why = [`This is all writable memory of ${formatSize(least)} and more.`]
    return { ranges: named(taken), why: taken.length === 0 ? [] : why }
  },
}
