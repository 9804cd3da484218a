/** The jobs of a QEMU that is played: whose answer is taken, and what is waited for. */

import { expect, it } from 'vitest'
import { Abort } from '../../../ts/ground/abort.js'
import { DirtyRateError } from '../../../ts/ground/errors.js'
import type { DirtyRateInfo } from '../../../ts/qapi/types.js'
import { type JobAccess, type JobVm, QemuJobs } from '../../../ts/targets/qemu/jobs.js'
import type { Job } from '../../../ts/targets/qemu/source.js'

const SAMPLES = {
  samplesPerGiB: 512,
  confidence: 0.95,
  design: 'simple-random',
  interval: 'wilson',
} as const
const JOB: Job = {
  method: { mode: 'page-sampling', samples: SAMPLES },
  windowMs: 50,
  baseline: { before: false, after: false },
}
const MEASURED: DirtyRateInfo = {
  status: 'measured',
  'dirty-rate': 7,
  'start-time': 1,
  'calc-time': 50,
  'calc-time-unit': 'millisecond',
  'sample-pages': 512,
  mode: 'page-sampling',
}

/** Jobs of a QEMU that gives these answers, and then the last one again and again. */
function played(answers: readonly (DirtyRateInfo | undefined)[], vm: Partial<JobVm> = {}) {
  const seen: string[] = []
  let at = 0
  const whole: JobVm = {
    requireMeasurable: async () => ({ memoryBytes: 2 ** 30, kvm: false }),
    watch: async () => ({ requireUndisturbed: async () => {}, end: () => void seen.push('end') }),
    start: async () => void seen.push('start'),
    whyNotStarted: () => 'refused',
    look: async () => {
      seen.push('look')
      return answers[Math.min(at++, answers.length - 1)]
    },
    // The window of the job must have passed before it has been measured.
    lookAfterMs: leftMs => Math.max(Math.ceil(leftMs), 1),
    forgotten: () => new DirtyRateError('ERR_STATE', 'forgotten'),
    statistics: async () => undefined,
    ...vm,
  }
  const access: JobAccess = { what: 'the rate', emulated: false, use: act => act(whole) }
  return { jobs: new QemuJobs(access), seen }
}

const run = (jobs: QemuJobs, signal = new Abort()) => jobs.run(JOB, signal)

it.each<[string, Partial<DirtyRateInfo>]>([
  ['mode', { mode: 'dirty-bitmap' }],
  ['window', { 'calc-time': 49 }],
  ['window than has passed', { 'calc-time': 999_999 }],
  ['number of samples', { 'sample-pages': 1024 }],
])('an answer with another %s is about the job of another client', async (_, other) => {
  const { jobs, seen } = played([{ ...MEASURED, ...other }])
  await expect(run(jobs)).rejects.toMatchObject({
    code: 'ERR_MEASURING',
    message: 'another client of QEMU has measured the rate in the meantime',
  })
  expect(seen.at(-1)).toBe('end')
})

it('a job that another client begins when ours has ended is not waited for', async () => {
  const other = { ...MEASURED, status: 'measuring', 'start-time': 3 } as const
  const { jobs, seen } = played([{ ...MEASURED, status: 'measuring' }, other, MEASURED])
  await expect(run(jobs)).rejects.toMatchObject({ code: 'ERR_MEASURING' })
  expect(seen.filter(one => one === 'look')).toHaveLength(2)
})

it('a domain that says nothing for a while is asked again', async () => {
  const { jobs } = played([undefined, { ...MEASURED, status: 'measuring' }, undefined, MEASURED])
  const { info, startedAt } = await run(jobs)
  expect(info).toEqual({ ...MEASURED, 'start-time': Math.floor(startedAt.getTime() / 1000) })
})

it('a job that was left is waited for before the next one starts', async () => {
  const measuring = { ...MEASURED, status: 'measuring' } as const
  const answers = [measuring, measuring, measuring, measuring, MEASURED]
  const { jobs, seen } = played(answers, {
    lookAfterMs: leftMs => (seen.includes('look') ? Math.max(Math.ceil(leftMs), 1) : 1),
  })
  const signal = new Abort()
  const left = run(jobs, signal)
  while (!seen.includes('look')) await new Promise(resolve => setTimeout(resolve))
  signal.abort(new Error('enough'))
  await expect(left).rejects.toThrow('enough')
  expect(jobs.goesOnMs).toBeGreaterThan(0)
  const before = seen.length
  await run(jobs)
  const [first] = seen.slice(before)
  expect(first).toBe('look')
  expect(jobs.goesOnMs).toBe(0)
})

it.each([
  ['occupied', 'ERR_MEASURING', 0],
  ['refused', 'ERR_ARGUMENT', 0],
  ['unknown', 'ERR_ARGUMENT', 1],
] as const)('a start that fails and is %s is %s', async (why, code, abandoned) => {
  const { jobs } = played([{ ...MEASURED, status: 'measuring' }], {
    start: () => Promise.reject(new DirtyRateError('ERR_ARGUMENT', 'no')),
    whyNotStarted: () => why,
  })
  await expect(run(jobs)).rejects.toMatchObject({ code })
  expect(jobs.goesOnMs > 0 ? 1 : 0).toBe(abandoned)
})
