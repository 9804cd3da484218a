/**
 * If a log cannot be turned off after a window, the result is right all the same, and has a
 * warning.
 */

import { expect, it, onTestFinished } from 'vitest'
import { native } from '../../ts/ground/native.js'
import { workload } from '../../ts/index.js'
import { running } from '../fixtures/machine.js'
import { describeMode, exactModesHere, logFor } from '../fixtures/modes.js'
import { besidesLength, expectTruth } from '../fixtures/truth.js'

/** Makes the next call that ends a client fail, as if the kernel refused to turn the log off. */
function refuseOnce(): void {
  const { prototype } = native().NativeVirtualMachine
  const { abandon } = prototype
  onTestFinished(() => {
    prototype.abandon = abandon
  })
  prototype.abandon = async () => {
    prototype.abandon = abandon
    throw Object.assign(new Error('KVM_SET_USER_MEMORY_REGION failed: no memory'), {
      code: 'ERR_KVM_IOCTL',
    })
  }
}

for (const mode of exactModesHere) {
  describeMode(mode, `a log that stays on after a window: ${mode}`, () => {
    it('takes nothing from the result, which has a warning', async () => {
      const vm = await running(workload.stride({ pages: 500 }), logFor(mode))
      refuseOnce()
      const measurement = await vm.measureDirtyRate({ window: 20 })
      expectTruth(measurement)
      expect(measurement.complete).toBe(true)
      expect(besidesLength(measurement.warnings)).toEqual([
        { code: 'LOG_LEFT_ON', message: expect.stringContaining('KVM_SET_USER_MEMORY_REGION') },
      ])
      const next = await vm.measureDirtyRate({ window: 20 })
      expectTruth(next)
      expect(besidesLength(next.warnings)).toEqual([])
      expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    })

    it('is reported by a curve too', async () => {
      const vm = await running(workload.stride({ pages: 500 }), logFor(mode))
      refuseOnce()
      const { warnings } = await vm.measureDirtyCurve({ windows: [10, 300] })
      expect(besidesLength(warnings)).toMatchObject([{ code: 'LOG_LEFT_ON' }])
    })

    it('does not hide why a measurement failed', async () => {
      const vm = await running(workload.stride({ pages: 500 }), logFor(mode))
      refuseOnce()
      const measured = expect(vm.measureDirtyRate({ window: '1h' })).rejects.toMatchObject({
        code: 'ERR_PAUSED',
      })
      await vm.pause()
      await measured
    })
  })
}
