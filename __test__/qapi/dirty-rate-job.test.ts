import { describe, expect, it } from 'vitest'
import { type CalcDirtyRateArguments, type DirtyLogKind, workload } from '../../ts/index.js'
import { DirtyRateJob } from '../../ts/qapi/dirty-rate-job.js'
import { modesOf } from '../../ts/targets/vm/modes.js'
import { describeKvm } from '../fixtures/kvm.js'
import { created, running, sleep } from '../fixtures/machine.js'

/** A job whose measurement must not begin. */
const refusing = (log: DirtyLogKind = 'bitmap'): DirtyRateJob =>
  new DirtyRateJob({
    modes: modesOf(log),
    requireMeasurable: () => {},
    measure: () => Promise.reject(new Error('it was started')),
  })
const calc = (args: unknown, log?: DirtyLogKind) => () =>
  refusing(log).calc(args as CalcDirtyRateArguments)

describe("calc-dirty-rate's refusals are QEMU's, in its order", () => {
  it.each([
    [{}, "Parameter 'calc-time' is missing"],
    [{ 'calc-time': 1, foo: 1 }, "Parameter 'foo' is unexpected"],
    [{ foo: 1 }, "Parameter 'calc-time' is missing"],
    [{ 'calc-time': '1' }, "Invalid parameter type for 'calc-time', expected: integer"],
    [{ 'calc-time': 1.5 }, "Invalid parameter type for 'calc-time', expected: integer"],
    [{ 'calc-time': Number.NaN }, "Invalid parameter type for 'calc-time', expected: integer"],
    [{ 'calc-time': 1, mode: 'nonsense' }, "Parameter 'mode' does not accept value 'nonsense'"],
    [{ 'calc-time': 1, mode: 5 }, "Invalid parameter type for 'mode', expected: string"],
    [
      { 'calc-time': 1, 'calc-time-unit': 'hour' },
      "Parameter 'calc-time-unit' does not accept value 'hour'",
    ],
    [{ 'calc-time': 0, mode: 'dirty-bitmap' }, 'Calculation time is out of range [50ms, 60000ms].'],
    [
      { 'calc-time': 61, mode: 'dirty-bitmap' },
      'Calculation time is out of range [50ms, 60000ms].',
    ],
    [
      { 'calc-time': -1, mode: 'dirty-ring', 'sample-pages': 1 },
      'Calculation time is out of range [50ms, 60000ms].',
    ],
    [
      { 'calc-time': 49, 'calc-time-unit': 'millisecond' },
      'Calculation time is out of range [50ms, 60000ms].',
    ],
    [
      { 'calc-time': 60_001, 'calc-time-unit': 'millisecond' },
      'Calculation time is out of range [50ms, 60000ms].',
    ],
    [
      { 'calc-time': 1, mode: 'dirty-bitmap', 'sample-pages': 1 },
      'sample-pages is used only in page-sampling mode',
    ],
    [
      { 'calc-time': 1, mode: 'dirty-ring', 'sample-pages': 512 },
      'sample-pages is used only in page-sampling mode',
    ],
    [{ 'calc-time': 1, 'sample-pages': 127 }, 'sample-pages is out of range[128, 16384].'],
    [{ 'calc-time': 1, 'sample-pages': 16_385 }, 'sample-pages is out of range[128, 16384].'],
    [
      { 'calc-time': 1, mode: 'dirty-ring' },
      'mode dirty-ring is not enabled, use other method instead.',
    ],
  ])('%j', (args, message) => {
    expect(calc(args)).toThrow(
      expect.objectContaining({ code: 'ERR_QAPI', class: 'GenericError', message }),
    )
  })

  it.each([null, 1, 'x', []])('arguments %j are no object', args => {
    expect(calc(args)).toThrow(expect.objectContaining({ code: 'ERR_QAPI' }))
  })

  it('refuses the log that a VM has not, in both directions and after all of that', () => {
    const refused = (mode: string): unknown =>
      expect.objectContaining({ message: `mode ${mode} is not enabled, use other method instead.` })
    expect(calc({ 'calc-time': 1, mode: 'dirty-ring' }, 'bitmap')).toThrow(refused('dirty-ring'))
    expect(calc({ 'calc-time': 1, mode: 'dirty-bitmap' }, 'ring')).toThrow(refused('dirty-bitmap'))
    for (const log of ['bitmap', 'ring'] as const)
      expect(calc({ 'calc-time': 1 }, log)).not.toThrow()
  })

  it('reads as in QEMU before the first job', () => {
    expect(refusing().query({})).toEqual({
      status: 'unstarted',
      'sample-pages': 0,
      mode: 'page-sampling',
      'calc-time-unit': 'second',
      'start-time': 0,
      'calc-time': 0,
    })
    expect(() => refusing().query({ unit: 1 } as never)).toThrow("Parameter 'unit' is unexpected")
  })
})

describeKvm('a job', () => {
  it('answers at once, refuses a second, and has its result when the time is over', async () => {
    const vm = await running(workload.stride({ pages: 1000 }))
    const before = Math.floor(Date.now() / 1000)
    await vm.calcDirtyRate({
      'calc-time': 100,
      'calc-time-unit': 'millisecond',
      mode: 'dirty-bitmap',
    })
    const measuring = await vm.queryDirtyRate({ 'calc-time-unit': 'millisecond' })
    expect(measuring).toEqual({
      status: 'measuring',
      'sample-pages': 512,
      mode: 'dirty-bitmap',
      'calc-time-unit': 'millisecond',
      'start-time': expect.any(Number),
      'calc-time': 100,
    })
    await expect(vm.calcDirtyRate({ 'calc-time': 0 })).rejects.toMatchObject({
      code: 'ERR_QAPI',
      message: 'the dirty rate is already being measured.',
    })
    // A measurement beside it is no second job.
    const beside = await vm.measureDirtyRate({ window: 50 })
    expect(beside.truth?.low).toBeLessThanOrEqual(beside.pages ?? -1)
    while ((await vm.queryDirtyRate()).status === 'measuring') await sleep(10)
    const measured = await vm.queryDirtyRate({ 'calc-time-unit': 'millisecond' })
    expect(measured).toMatchObject({ status: 'measured', 'sample-pages': 0, mode: 'dirty-bitmap' })
    expect(measured['calc-time']).toBeGreaterThanOrEqual(100)
    expect(measured['dirty-rate']).toBeGreaterThan(0)
    expect(measured['start-time']).toBeGreaterThanOrEqual(before)
    expect(vm.dirtyMemory.loggingBlocks()).toEqual([])
  })

  it('that fails is an error to who asks, and never a measured one', async () => {
    const vm = await running(workload.stride({ pages: 1000 }))
    await vm.calcDirtyRate({ 'calc-time': 1, mode: 'dirty-bitmap' })
    await vm.pause()
    await expect(vm.queryDirtyRate()).rejects.toMatchObject({ code: 'ERR_PAUSED' })
    await expect(vm.calcDirtyRate({ 'calc-time': 1, mode: 'dirty-bitmap' })).rejects.toMatchObject({
      code: 'ERR_PAUSED',
    })
    await vm.resume()
    await vm.calcDirtyRate({
      'calc-time': 50,
      'calc-time-unit': 'millisecond',
      mode: 'dirty-bitmap',
    })
    expect((await vm.queryDirtyRate()).status).toBe('measuring')
  })

  it('is not begun on a VM that does not run', async () => {
    const vm = await created()
    await expect(vm.calcDirtyRate({ 'calc-time': 1, mode: 'dirty-bitmap' })).rejects.toMatchObject({
      code: 'ERR_STATE',
    })
    expect((await vm.queryDirtyRate()).status).toBe('unstarted')
  })
})
