/**
 * Makes each call of the kernel that measures another process fail. Nothing may hang, no figure may
 * be wrong, no error may say of a process that runs that it has ended or is stopped, and nothing
 * may stay open.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { full } from '../fixtures/kvm.js'
import { MemoryLives } from './process.js'
import { allProcessFaults, fewProcessFaults } from './process-cases.js'
import { runCases } from './process-outcomes.js'

const PAGES = 16_384
/** memory.c writes half of its pages again and again, and never the other half. */
const WRITTEN = PAGES / 2
const WINDOW_MS = 60

describe.skipIf(process.platform !== 'linux')('a call on another process that fails', () => {
  let lives: MemoryLives
  beforeAll(async () => {
    lives = await MemoryLives.of(PAGES)
  })
  afterAll(() => lives?.end())

  const cases = full ? allProcessFaults() : fewProcessFaults()
  it.each(['private', 'shared'] as const)(
    `leaves no hang, no wrong figure, no riddle: ${cases.length} faults, %s memory`,
    {
      timeout: full ? 3_600_000 : 300_000,
    },
    async kind => {
      const life = { kind, mode: 'page-sampling', windowMs: WINDOW_MS } as const
      const { wrong, calls, busy } = await runCases(lives, life, cases, WRITTEN)
      expect(wrong).toEqual([])
      const readsMemory = { private: 'process_vm_readv', shared: 'pread memory' }[kind]
      expect(calls).toEqual(expect.arrayContaining(['pidfd_open', 'open maps', readsMemory]))
      expect(busy).toBeGreaterThan(0)
    },
  )
})
