/**
 * The VMs of this package, in whatever program it is. Their RAM is anonymous memory with
 * MADV_DONTFORK and MADV_DONTDUMP.
 */

import { formatSize } from '../../../ground/units.js'
import { isAnonymous, isData } from '../maps.js'
import { named, type Vmm } from './vmm.js'

/** A VM of ours may be small, and nothing else in the process has both advices. */
const LEAST = 2 ** 20

export const own: Vmm = {
  name: 'dirtyrate',
  isTested: true,
  looksFor: 'anonymous memory with MADV_DONTFORK and MADV_DONTDUMP',
  recognises: ({ mappings }) =>
    mappings.some(({ path }) => /\/dirtyrate(\.[^/]*)?\.node$/.test(path)),
  find({ mappings }, minBytes = LEAST) {
    const taken = mappings.filter(
      mapping =>
        isData(mapping) &&
        isAnonymous(mapping) &&
        mapping.flags.has('dc') &&
        mapping.flags.has('dd') &&
        mapping.bytes >= minBytes,
    )
    const why = [
      `This is the memory of ${formatSize(minBytes)} and more that is neither dumped nor copied to a child. The blocks of several VMs of one process cannot be told apart.`,
    ]
    return { ranges: named(taken), why: taken.length === 0 ? [] : why }
  },
}
