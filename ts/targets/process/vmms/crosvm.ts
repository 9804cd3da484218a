/** crosvm. Its RAM is a memfd named `crosvm_guest`. */

import { isData } from '../maps.js'
import { named, type Vmm } from './vmm.js'

export const crosvm: Vmm = {
  name: 'crosvm',
  isTested: false,
  looksFor: "a memfd 'crosvm_guest'",
  recognises: ({ program }) => program === 'crosvm',
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
