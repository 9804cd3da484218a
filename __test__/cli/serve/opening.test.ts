/** How `serve` and the other commands open a target. */

import { expect, it } from 'vitest'
import { parseOpening } from '../../../ts/cli/serve/opening.js'
import { withTarget } from '../../../ts/cli/target.js'
import type { Target } from '../../../ts/targets/target.js'
import { describeKvm } from '../../fixtures/kvm.js'
import { MEMORY } from '../../fixtures/machine.js'
import { inSession } from '../../fixtures/session.js'

const OPTIONS = { mode: 'auto', force: false, every: '1s', window: '1s', curveEvery: 'never' }

async function expectNothingKept(target: Target): Promise<void> {
  const { cells } = await target.measureDirtyRate({ window: '20ms', cells: 2 ** 21 })
  expect(cells?.blocks.length).toBeGreaterThan(0)
  expect(target.history).toEqual([])
}

describeKvm('the target of a command', () => {
  const uri = `guest:idle,memory=${MEMORY}`

  it('keeps no results in serve, because their cells would take memory', async () => {
    const { status, err } = await inSession({}, async session => {
      const target = await parseOpening(session, OPTIONS, 'auto')(uri, session.signal)
      try {
        await expectNothingKept(target)
      } finally {
        await target.close()
      }
      return 0
    })
    expect(status, err).toBe(0)
  })

  it('keeps none in a command that measures for as long as one likes', async () => {
    const { status, err } = await inSession({}, async session => {
      await withTarget(session, uri, { mode: { mode: 'auto' }, force: false }, expectNothingKept)
      return 0
    })
    expect(status, err).toBe(0)
  })
})
