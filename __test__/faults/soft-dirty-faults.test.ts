/**
 * Makes each call of the kernel fail by which the pages of another process are counted by its
 * soft-dirty bits. It runs where the kernel has the bits, as those of the rigs of x86-64 have. The
 * same must hold as for sampling: see process-faults.test.ts.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { full } from '../fixtures/kvm.js'
import { hasSoftDirty } from '../fixtures/writer.js'
import { MemoryLives } from './process.js'
import { runCases } from './process-outcomes.js'
import { allSoftDirtyFaults, fewSoftDirtyFaults } from './soft-dirty-cases.js'

const PAGES = 1024
/** memory.c writes half of its pages again and again, and never the other half. */
const WRITTEN = PAGES / 2
/** Many times what a rig needs for the first writes after a clear: 0.1 ms each. */
const WINDOW_MS = 400

describe.skipIf(!hasSoftDirty())('a call on the soft-dirty bits that fails', () => {
  let lives: MemoryLives
  beforeAll(async () => {
    lives = await MemoryLives.of(PAGES)
  })
  afterAll(() => lives?.end())

  const cases = full ? allSoftDirtyFaults() : fewSoftDirtyFaults()
  it.each(['private', 'shared'] as const)(
    `leaves no hang, no wrong figure, no riddle: ${cases.length} faults, %s memory`,
    { timeout: full ? 7_200_000 : 600_000 },
    async kind => {
      const life = { kind, mode: 'soft-dirty', windowMs: WINDOW_MS } as const
      const { wrong, calls, busy } = await runCases(lives, life, cases, WRITTEN)
      expect(wrong).toEqual([])
      const known = ['open clear_refs', 'pwrite clear_refs', 'flock', 'read smaps', 'opendir fd']
      expect(calls).toEqual(expect.arrayContaining(known))
      expect(busy).toBeGreaterThan(0)
    },
  )
})
