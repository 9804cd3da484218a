/**
 * Firecracker. Its RAM is anonymous memory, or after a restore the file of a snapshot. On x86 the
 * part above 4 GiB lies below the other part in the process's memory, and the two are one mapping.
 */

import { formatSize } from '../../../ground/units.js'
import { LEAST_RAM, mayBeRam, named, splitAtHole, type Vmm } from './vmm.js'

/** The RAM below the hole. */
const LOW = 3 * 2 ** 30

export const firecracker: Vmm = {
  name: 'Firecracker',
  isTested: false,
  looksFor: 'anonymous memory, or a mapped file',
  recognises: ({ program }) => program.startsWith('firecracker'),
  find({ mappings }, minBytes = LEAST_RAM) {
    const taken = mappings.filter(mapping => mayBeRam(mapping) && mapping.bytes >= minBytes)
    const why = [`This is the memory of ${formatSize(minBytes)} and more.`]
    const [only] = taken
    if (taken.length === 1 && only !== undefined)
      return { ranges: splitAtHole(only, LOW, 'high-first'), why }
    return { ranges: named(taken), why: taken.length === 0 ? [] : why }
  },
}
