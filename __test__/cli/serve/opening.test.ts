/** How `serve` opens a target. */

import { expect, it } from 'vitest'
import { parseOpening } from '../../../ts/cli/serve/opening.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { MEMORY } from '../../fixtures/machine.js'
import { inSession } from '../../fixtures/session.js'

const OPTIONS = { mode: 'auto', force: false, every: '1s', window: '1s', curveEvery: 'never' }

describeKvm('a target of serve', () => {
  it('keeps no results, whose cells would take memory', async () => {
    const { status, err } = await inSession({}, async session => {
      const open = parseOpening(session, OPTIONS, 'auto')
      const target = await open(`guest:idle,memory=${MEMORY}`, session.signal)
      try {
        const { cells } = await target.measureDirtyRate({ window: '20ms', cells: 2 ** 21 })
        expect(cells?.blocks.length).toBeGreaterThan(0)
        expect(target.history).toEqual([])
      } finally {
        await target.close()
      }
      return 0
    })
    expect(status, err).toBe(0)
  })
})
