/** What `dirtyrate capabilities` shows of kernels that are not this machine's. */

import { expect, it } from 'vitest'
import { rows } from '../../ts/cli/capabilities.js'
import type { Capabilities } from '../../ts/index.js'

const found: Capabilities = {
  apiVersion: 12,
  arch: 'x86_64',
  manualDirtyLogProtect: 'initially-set',
  dirtyRing: true,
  dirtyRingAcqRel: true,
  dirtyRingEntries: 65_536,
  dirtyRingWithBitmap: false,
  memorySlots: 32_764,
  vcpus: 1024,
  recommendedVcpus: 8,
  immediateExit: true,
  syncRegs: true,
  binaryStatsFd: true,
  preFaultMemory: false,
  nestedPaging: true,
  pageSize: 4096,
}

/** What is shown of the log that the CPU writes. */
const pageModificationLog = (of: Partial<Capabilities>): string | undefined =>
  new Map(rows({ ...found, ...of })).get('page-modification log')

it('the log of the CPU is shown where KVM says of it, and on arm64 that it does not', () => {
  expect(pageModificationLog({ pageModificationLog: true })).toBe('yes')
  expect(pageModificationLog({ pageModificationLog: false })).toBe('no')
  expect(pageModificationLog({})).toBeUndefined()
  expect(pageModificationLog({ arch: 'aarch64' })).toBe(
    'not known: KVM does not say whether it uses HDBSS',
  )
})
