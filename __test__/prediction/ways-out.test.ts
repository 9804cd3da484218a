/** Which ways out a migration has, by the software of the VM. */

import { describe, expect, it } from 'vitest'
import { type MigrationOptions, predictMigration } from '../../ts/prediction/index.js'
import type { DirtyRateCurve } from '../../ts/results/curve.js'

const GIB = 2 ** 30
const BYTES_PER_SECOND = 2e9
const PAGE = 4096

/** A guest of 4 GiB that dirties more than any link of these tests carries. */
const STALLS = {
  schemaVersion: 1,
  target: 'played:vm',
  startedAt: '2026-01-01T00:00:00Z',
  mode: 'dirty-bitmap',
  pageSize: PAGE,
  points: [0.1, 0.5].map(seconds => ({
    windowNs: seconds * 1e9,
    requestedMs: seconds * 1000,
    bytesPerSecond: BYTES_PER_SECOND,
    interval: { low: BYTES_PER_SECOND, high: BYTES_PER_SECOND, confidence: 1 },
    pages: Math.round((BYTES_PER_SECOND * seconds) / PAGE),
  })),
  memory: {
    bytes: 4 * GIB,
    zeroPages: { value: 0, low: 0, high: 0 },
    compressedRatio: { value: 0.4, low: 0.35, high: 0.45 },
    compressionBytesPerSecond: 400e6,
  },
  complete: true,
  warnings: [],
} satisfies DirtyRateCurve

function kindsOf(profile: MigrationOptions['profile']): string[] {
  const { verdict, waysOut } = predictMigration(STALLS, {
    bandwidth: '1Gbit/s',
    downtime: '300ms',
    profile,
  })
  expect(verdict).toBe('stalls')
  return waysOut.map(({ kind }) => kind)
}

const ALWAYS = ['more-bandwidth', 'shutdown']
const OF_QEMU = ['dirty-limit', 'auto-converge', 'compression', 'post-copy']

describe('the ways out', () => {
  // qapi/migration.json: set-vcpu-dirty-limit since 7.1, zstd in multifd since 5.0, postcopy-ram
  // since 2.6, auto-converge since 1.6.
  it.each([
    ['qemu', OF_QEMU],
    ['qemu-7.1', OF_QEMU],
    ['qemu-7.0', ['auto-converge', 'compression', 'post-copy']],
    ['qemu-5.0', ['auto-converge', 'compression', 'post-copy']],
    ['qemu-4.2', ['auto-converge', 'post-copy']],
    ['qemu-2.6', ['auto-converge', 'post-copy']],
    ['qemu-2.5', ['auto-converge']],
    ['cloud-hypervisor', []],
  ])('of %s are those that it has', (profile, ways) => {
    const kinds = kindsOf(profile).filter(kind => kind !== 'more-downtime')
    expect(kinds.sort()).toEqual([...ALWAYS, ...ways].sort())
  })

  it('of a profile of the caller are those that it names, whatever its name is', () => {
    const own = kindsOf({ name: 'vmm', waysOut: ['post-copy'] })
    expect(own).toContain('post-copy')
    expect(own).not.toContain('auto-converge')
    expect(kindsOf({ name: 'qemu-like', waysOut: [] })).not.toContain('post-copy')
  })
})
