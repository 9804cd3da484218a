/** A repeated curve that is aborted, and keeps its whole rounds. */

import { expect, it, onTestFinished } from 'vitest'
import { native } from '../../ts/ground/native.js'
import {
  type CountedCurve,
  isDirtyRateError,
  type VirtualMachine,
  workload,
} from '../../ts/index.js'
import { describeKvm } from '../fixtures/kvm.js'
import { running } from '../fixtures/machine.js'
import { expectTruth, windowsOf } from '../fixtures/truth.js'

const WINDOWS = [5, 20]
const PAGES = 1000
const REASON = new Error('enough')

/** A guest that writes its pages many times in each window. */
const stride = (): Promise<VirtualMachine> => running(workload.stride({ pages: PAGES }))

/**
 * Calls `act` when the round with this number, from 1, has begun: at its last deadline, which is
 * then waited for. The call is watched, not replaced.
 */
function inRound(number: number, act: () => void): void {
  const { prototype } = native().NativeVirtualMachine
  const { takeAt } = prototype
  let rounds = 0
  prototype.takeAt = function (...args) {
    const taken = takeAt.apply(this, args)
    if (++rounds === number) act()
    return taken
  }
  onTestFinished(() => {
    prototype.takeAt = takeAt
  })
}

/** The events that a measurement ended with. */
function endsOf(vm: VirtualMachine): string[] {
  const ends: string[] = []
  for (const name of ['done', 'incomplete', 'failed'] as const) vm.on(name, () => ends.push(name))
  return ends
}

describeKvm('a repeated curve with keepRounds', () => {
  it('has its whole rounds if the guest is paused, and says why', async () => {
    const vm = await stride()
    inRound(4, () => {
      void vm.pause()
    })
    const options = { windows: WINDOWS, repeat: 100, keepRounds: true }
    const curve: CountedCurve = await vm.measureDirtyCurve(options)
    expect(curve.repeated?.rounds).toHaveLength(3)
    for (const point of curve.points) expectTruth(point)
    expect(curve.warnings[0]).toMatchObject({
      code: 'INTERRUPTED',
      message: expect.stringContaining('interrupted by ERR_PAUSED'),
    })
    await vm.resume()
    const { pages } = await vm.measureDirtyRate({ window: '20ms' })
    expect(pages).toBeGreaterThanOrEqual(PAGES)
  })

  it.each([
    ['repeat', { repeat: 100 }],
    ['for', { for: '1h' }],
  ] as const)('has its whole rounds after an abort: %s', async (_, more) => {
    const vm = await stride()
    const ends = endsOf(vm)
    const abort = new AbortController()
    inRound(4, () => abort.abort(REASON))
    const { signal } = abort
    const options = { windows: WINDOWS, ...more, keepRounds: true, signal }
    const curve: CountedCurve = await vm.measureDirtyCurve(options)
    expect(windowsOf(curve)).toEqual(WINDOWS)
    expect(curve.repeated?.rounds).toHaveLength(3)
    // The oracle of each mean is the guest's own count.
    for (const point of curve.points) expectTruth(point)
    const [first] = curve.warnings
    expect(first).toEqual({
      code: 'INTERRUPTED',
      message:
        'the measurement was interrupted: the figures are the means of the 3 whole rounds until then',
    })
    expect(curve.complete).toBe(true)
    expect(Object.isFrozen(curve.points)).toBe(true)
    expect(ends).toEqual(['done'])
    // The round that was under way has left nothing.
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
    const { pages } = await vm.measureDirtyRate({ window: '20ms' })
    expect(pages).toBeGreaterThanOrEqual(PAGES)
  })

  it('rejects without one whole round', async () => {
    const vm = await stride()
    const ends = endsOf(vm)
    const abort = new AbortController()
    inRound(1, () => abort.abort(REASON))
    const options = { windows: WINDOWS, repeat: 100, keepRounds: true, signal: abort.signal }
    await expect(vm.measureDirtyCurve(options)).rejects.toBe(REASON)
    expect(ends).toEqual(['failed'])
  })

  it('rejects if the target was closed, and not the measurement aborted', async () => {
    const vm = await stride()
    inRound(4, () => void vm.close())
    const options = { windows: WINDOWS, repeat: 100, keepRounds: true }
    const error = await vm.measureDirtyCurve(options).catch((error: unknown) => error)
    expect(isDirtyRateError(error, 'ERR_CLOSED')).toBe(true)
  })

  it('has no warning if nothing aborts it', async () => {
    const vm = await stride()
    const { signal } = new AbortController()
    const options = { windows: WINDOWS, repeat: 2, keepRounds: true, signal }
    const { repeated, warnings } = await vm.measureDirtyCurve(options)
    expect(repeated?.rounds).toHaveLength(2)
    expect(warnings.map(({ code }) => code)).not.toContain('INTERRUPTED')
  })

  it('is refused of a single curve', async () => {
    const vm = await stride()
    const message = 'keepRounds: a single curve has no rounds'
    const code = 'ERR_ARGUMENT'
    await expect(
      vm.measureDirtyCurve({ windows: WINDOWS, keepRounds: true }),
    ).rejects.toMatchObject({ code, message })
    await expect(
      vm.measureDirtyCurve({ windows: WINDOWS, repeat: 2, keepRounds: 'yes' as never }),
    ).rejects.toMatchObject({ code })
    // What is not wanted needs nothing.
    await vm.measureDirtyCurve({ windows: [5], keepRounds: false })
  })
})

describeKvm('a repeated curve without keepRounds', () => {
  it('rejects after an abort', async () => {
    const vm = await stride()
    const abort = new AbortController()
    inRound(4, () => abort.abort(REASON))
    const options = { windows: WINDOWS, repeat: 100, signal: abort.signal }
    await expect(vm.measureDirtyCurve(options)).rejects.toBe(REASON)
  })
})
