/** What the rounds of a curve by an exact mode have beside their figures. */

import type { NativeReap } from '../../ground/native.js'
import { regionsOfBlock } from '../../measurement/regions.js'
import type { Round } from '../../measurement/source.js'

/** Where the pages of a reap are, as far as it was asked to count them by region. */
export function breakdownOf({
  blocks,
  granularities,
}: NativeReap): Pick<Round, 'regions' | 'granularities' | 'memory'> {
  return {
    regions: blocks.flatMap(({ generation, regions, ...block }) =>
      regions ? regionsOfBlock({ ...block, key: String(generation) }, regions) : [],
    ),
    ...(granularities ? { granularities } : {}),
    memory: {
      bytes: blocks.reduce((sum, { bytes, removed }) => sum + (removed ? 0 : bytes), 0),
    },
  }
}
