/** crosvm. Its RAM is a memfd named `crosvm_guest`. */

import { isData } from '../maps.js'
import { MIB, memoryIn, nameIn, optionOf, partOf, vcpusIn } from './command-line.js'
import { named, type Vmm } from './vmm.js'

export const crosvm: Vmm = {
  id: 'crosvm',
  isTested: false,
  looksFor: "a memfd 'crosvm_guest'",
  readCommandLine: words => ({
    ...nameIn(optionOf(words, '--name')),
    ...memoryIn(partOf(optionOf(words, '--mem', '-m'), 'size'), MIB),
    ...vcpusIn(partOf(optionOf(words, '--cpus', '-c'), 'num-cores')),
  }),
  find({ mappings }, minBytes = 1) {
    const taken = mappings.filter(
      mapping =>
        isData(mapping) &&
        mapping.path.startsWith('/memfd:crosvm_guest') &&
        mapping.bytes >= minBytes,
    )
    const why = taken.length === 0 ? [] : ["These are the mappings of the memfd 'crosvm_guest'."]
    return { ranges: named(taken), why }
  },
}
