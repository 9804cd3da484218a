/**
 * The VMs of this package, in whatever program it is. Their RAM is anonymous memory with
 * MADV_DONTFORK and MADV_DONTDUMP.
 */

import { formatSize } from '../../../ground/units.js'
import { parseValues } from '../../qemu/option-syntax.js'
import { isAnonymous, isData } from '../maps.js'
import { memoryIn } from './command-line.js'
import { named, type Vmm } from './vmm.js'

/** A VM of ours may be small, and nothing else in the process has both advices. */
const LEAST = 2 ** 20

export const own: Vmm = {
  id: 'dirtyrate',
  isTested: true,
  looksFor: 'anonymous memory with MADV_DONTFORK and MADV_DONTDUMP',
  // A command of this package has the target that it made in its command line.
  readCommandLine(words) {
    const target = words.find(word => /^(guest|kernel):/.test(word))
    if (target === undefined) return {}
    const memory = parseValues(target, 'name').get('memory')
    return { name: target, ...memoryIn(memory?.replace(/iB$/, '') ?? '1G') }
  },
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
