/** In which units `predict --snapshot` measures a target. */

import { expect, it } from 'vitest'
import { granularitiesOf } from '../../ts/cli/predict.js'
import type { Mode } from '../../ts/index.js'

const own = { modes: ['dirty-bitmap', 'page-sampling'] as Mode[], exactPageSize: 4096 }
const process = { modes: ['page-sampling', 'soft-dirty'] as Mode[], exactPageSize: 4096 }
/** Nobody knows the guest's addresses of this process, and nobody the pages of this QEMU. */
const unplaced = { ...process, exactPageSize: undefined }

it.each<[string, typeof own | typeof unplaced, Mode | 'auto', number[] | undefined]>([
  ['an own VM', own, 'auto', [4096, 65_536, 2_097_152]],
  ['an own VM', own, 'dirty-bitmap', [4096, 65_536, 2_097_152]],
  ['an own VM', own, 'page-sampling', undefined],
  ['an own VM with larger pages', { ...own, exactPageSize: 65_536 }, 'auto', [65_536, 2_097_152]],
  ['a process', process, 'soft-dirty', [4096, 65_536, 2_097_152]],
  ['a process', process, 'auto', undefined],
  ['a process', process, 'page-sampling', undefined],
  ['a process without guest addresses', unplaced, 'soft-dirty', undefined],
])('%s %j in mode %s', (_, target, mode, granularities) => {
  expect(granularitiesOf(target, { mode: { mode }, more: {} })).toEqual(
    granularities === undefined ? {} : { granularities },
  )
})

it('the units that were asked for come too, and each of them once', () => {
  const more = { granularities: ['8192', 65_536] as never }
  expect(granularitiesOf(own, { mode: { mode: 'auto' }, more })).toEqual({
    granularities: [4096, 65_536, 2_097_152, '8192'],
  })
})
