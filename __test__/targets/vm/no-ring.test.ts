/**
 * Rings where the kernel has none: the bitmap is in their place, and says so. What only such a
 * kernel can show runs in the rig arm64.
 */

import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { type LogEvent, openTarget, setLog, workload } from '../../../ts/index.js'
import { modeUnavailable } from '../../../ts/targets/vm/modes.js'
import { MEMORY, running } from '../../fixtures/machine.js'
import { missing } from '../../fixtures/modes.js'
import { besidesLength, expectTruth } from '../../fixtures/truth.js'

describe('the mode dirty-ring', () => {
  it.each([
    [true, 'ringEntries'],
    [false, 'this kernel has no dirty ring'],
  ])('of a VM with a bitmap, where the kernel has rings: %s', (kernelHasRing, hint) => {
    expect(modeUnavailable('dirty-ring', 'bitmap', kernelHasRing)).toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
      hint: expect.stringContaining(hint),
    })
  })
})

const why = existsSync('/dev/kvm') ? 'the kernel has them' : 'there is no /dev/kvm'
const here = missing('dirty-ring') !== undefined
describe.runIf(here)(`a VM that was to have rings${here ? '' : ` (skipped: ${why})`}`, () => {
  const said = { code: 'RING_UNAVAILABLE', message: expect.stringMatching(/no dirty ring/) }

  it('has the bitmap, and says so wherever it measures', async () => {
    const events: LogEvent[] = []
    setLog('warn', event => events.push(event))
    const vm = await running(workload.stride({ pages: 500 }), {
      dirtyLog: { ringEntries: 4096 },
      vcpus: 2,
    })
    setLog('off', null)
    expect(events).toMatchObject([
      { level: 'warn', message: expect.stringMatching(/no dirty ring/) },
    ])
    expect(vm).toMatchObject({ dirtyLog: 'bitmap', ringEntries: 0 })
    const measurement = await vm.measureDirtyRate({ window: 100 })
    expectTruth(measurement)
    expect(measurement).toMatchObject({ mode: 'dirty-bitmap', complete: true })
    expect(besidesLength(measurement.warnings)).toEqual([said])
    const curve = await vm.measureDirtyCurve({ windows: [20, 40] })
    expect(besidesLength(curve.warnings)).toEqual([said])
    for await (const { warnings } of vm.watchDirtyRate({ every: 20 })) {
      expect(besidesLength(warnings)).toEqual([said])
      break
    }
    await expect(vm.measureDirtyRate({ mode: 'dirty-ring' })).rejects.toMatchObject({
      code: 'ERR_MODE_UNAVAILABLE',
    })
    await expect(vm.calcDirtyRate({ 'calc-time': 1, mode: 'dirty-ring' })).rejects.toThrow(
      /is not enabled/,
    )
  })

  it('is what a target with log=ring is', async () => {
    const guest = `guest:stride,pages=500,memory=${MEMORY}`
    const target = await openTarget(`${guest},log=ring`)
    try {
      expect(besidesLength((await target.measureDirtyRate({ window: 20 })).warnings)).toEqual([
        said,
      ])
    } finally {
      await target.close()
    }
    await expect(openTarget(guest, { mode: 'dirty-ring' })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
    })
  })
})
