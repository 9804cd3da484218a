/**
 * The prediction as a script for browsers runs where there is nothing but the language: no
 * `process`, no `Buffer`, no `performance`, no timers, no `require`.
 */

import { runInNewContext } from 'node:vm'
import { rolldown } from 'rolldown'
import { beforeAll, expect, it } from 'vitest'
import * as here from '../../ts/prediction/index.js'
import { published } from './published.js'

let code: string

beforeAll(async () => {
  const input = new URL('../../ts/prediction/index.ts', import.meta.url).pathname
  const build = await rolldown({ input, platform: 'browser', logLevel: 'silent' })
  const { output } = await build.generate({ format: 'iife', name: 'prediction' })
  await build.close()
  // All of it is in one script, which imports nothing.
  expect(output.map(({ type }) => type)).toEqual(['chunk'])
  expect(output[0].imports).toEqual([])
  code = output[0].code
})

/** What `expression` gives in a context of its own, as JSON, because its objects are not ours. */
const there = (expression: string, given: object = {}): unknown => {
  const text = `${code}; JSON.stringify((given => (${expression}))(JSON.parse(${JSON.stringify(JSON.stringify(given))})))`
  return JSON.parse(runInNewContext(text, {}) as string)
}

const curve = {
  mode: 'dirty-bitmap',
  pageSize: 4096,
  points: [0.1, 1, 10].map(seconds => {
    const bytesPerSecond = 100e6 / Math.sqrt(seconds)
    const interval = { low: bytesPerSecond, high: bytesPerSecond, confidence: 1 }
    return { windowNs: seconds * 1e9, bytesPerSecond, interval }
  }),
  granularities: [{ granuleBytes: 65536, dirtyGranules: [500, 1500, 4000], extents: [9, 8, 7] }],
  memory: { bytes: 2 ** 32, compressedRatio: { value: 0.5, low: 0.4, high: 0.6 } },
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

it.each([
  ['1Gbit/s', '300ms', undefined],
  ['200Mbit/s', '100ms', undefined],
  ['5Gbit/s', '300ms', 'gudkov-2023'],
  ['10Gbit/s', 'unlimited', 'cloud-hypervisor'],
])('predicts a migration at %s and %s, profile %s', (bandwidth, downtime, profile) => {
  const options = { bandwidth, downtime, profile }
  for (const one of [curve, published]) {
    const found = there('prediction.predictMigration(given.one, given.options)', { one, options })
    expect(found).toEqual(plain(here.predictMigration(one, options)))
  }
})

it('predicts a snapshot, and plans migrations', () => {
  const snapshot = { interval: '5min', bandwidth: '1GB/s', granularity: '64KiB' }
  expect(
    there('prediction.predictSnapshot(given.curve, given.snapshot)', { curve, snapshot }),
  ).toEqual(plain(here.predictSnapshot(curve, snapshot)))
  const vms = ['a', 'b'].map(name => ({ name, curve }))
  const options = { bandwidth: '10Gbit/s', downtime: '300ms' }
  expect(there('prediction.planMigrations(given.vms, given.options)', { vms, options })).toEqual(
    plain(here.planMigrations(vms, options)),
  )
})

it('refuses what is wrong with the same error', () => {
  const refused = `(() => {
    try { prediction.predictMigration({}, { bandwidth: '1GB/s', downtime: '1s' }) }
    catch (error) {
      const isOurs = prediction.isDirtyRateError(error, 'ERR_ARGUMENT')
      return { isOurs, code: error.code, message: error.message, hint: error.hint }
    }
  })()`
  expect(there(refused)).toEqual({
    isOurs: true,
    code: 'ERR_ARGUMENT',
    message: 'curve: it has no points',
    hint: 'Give what dirtyrate curve --json prints.',
  })
})

it('has no global of Node.js to lean on', () => {
  const names = ['process', 'Buffer', 'require', 'performance', 'setTimeout', 'structuredClone']
  expect(there(`given.map(name => typeof globalThis[name])`, names)).toEqual(
    names.map(() => 'undefined'),
  )
})
