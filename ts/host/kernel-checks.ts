/** What the kernel offers for looking at the memory of other processes. */

import { closeSync, openSync, readSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import { readText } from '../ground/proc.js'
import type { Check } from './check.js'

/** The first version of Linux with the ioctl PAGEMAP_SCAN. */
const PAGEMAP_SCAN = { major: 6, minor: 7 }

export function kernelChecks(): Check[] {
  return [pagemapScanCheck(), softDirtyCheck(), ...lockdownChecks()]
}

function pagemapScanCheck(): Check {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(release()) ?? []
  const has =
    Number(major) > PAGEMAP_SCAN.major ||
    (Number(major) === PAGEMAP_SCAN.major && Number(minor) >= PAGEMAP_SCAN.minor)
  return {
    id: 'pagemap-scan',
    name: 'PAGEMAP_SCAN',
    state: has ? 'good' : 'limited',
    found: has
      ? `Linux ${release()} has it`
      : `Linux ${release()} has none, so pages are found more slowly`,
    ...(has ? {} : { mend: 'Use Linux 6.7 or later' }),
  }
}

/**
 * A kernel without soft-dirty bits takes the command that clears them, too, and then never sets
 * one. So the bits of this process are cleared, and then looked for in its stack, which it writes
 * all the time.
 */
function softDirtyCheck(): Check {
  const check = { id: 'soft-dirty', name: 'soft-dirty bits' }
  let has: boolean
  try {
    writeFileSync('/proc/self/clear_refs', '4')
    has = stackIsSoftDirty()
  } catch (error) {
    return { ...check, state: 'unknown', found: `not known: ${(error as Error).message}` }
  }
  return {
    ...check,
    // No mode of this version uses them, so their absence takes nothing away.
    state: 'good',
    found: `${has ? 'yes' : 'none'}, as a written page shows; no mode of this version needs them`,
  }
}

/** The bit of an entry of pagemap that says: written since the bits were cleared. */
const SOFT_DIRTY_BIT = 55
/** The size of an entry of pagemap. */
const ENTRY = 8
const PAGE = 4096

function stackIsSoftDirty(): boolean {
  const [, from = '0', to = '0'] =
    /^([0-9a-f]+)-([0-9a-f]+) .*\[stack\]$/m.exec(readText('/proc/self/maps') ?? '') ?? []
  const [first, last] = [Number.parseInt(from, 16) / PAGE, Number.parseInt(to, 16) / PAGE]
  const entries = Buffer.alloc((last - first) * ENTRY)
  const file = openSync('/proc/self/pagemap', 'r')
  try {
    readSync(file, entries, 0, entries.length, first * ENTRY)
  } finally {
    closeSync(file)
  }
  for (let at = 0; at + ENTRY <= entries.length; at += ENTRY)
    if (((entries.readBigUInt64LE(at) >> BigInt(SOFT_DIRTY_BIT)) & 1n) === 1n) return true
  return false
}

function lockdownChecks(): Check[] {
  const mode = /\[(\w+)\]/.exec(readText('/sys/kernel/security/lockdown') ?? '')?.[1]
  if (mode === undefined) return []
  const isOff = mode === 'none'
  return [
    {
      id: 'lockdown',
      name: 'lockdown',
      state: isOff ? 'good' : 'limited',
      found: isOff
        ? 'none'
        : `${mode}: the counters of KVM in debugfs are closed, and are not used here`,
    },
  ]
}
