/** What the kernel offers for looking at the memory of other processes. */

import { release } from 'node:os'
import { native } from '../ground/native.js'
import { readText } from '../ground/proc.js'
import { SOFT_DIRTY_KERNEL } from '../targets/process/soft-dirty.js'
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
    ...(has ? {} : { mend: 'Boot Linux 6.7 or later: no command adds it to an older kernel' }),
  }
}

/** A kernel with soft-dirty bits sets that of a page when the page is written the first time. */
function softDirtyCheck(): Check {
  const check = { id: 'soft-dirty', name: 'soft-dirty bits' }
  let has: boolean
  try {
    has = native().kernelMayHaveSoftDirty()
  } catch (error) {
    return { ...check, state: 'unknown', found: `not known: ${(error as Error).message}` }
  }
  return {
    ...check,
    state: has ? 'good' : 'limited',
    found: has
      ? 'yes, as a written page shows: pid: can count every page (--mode soft-dirty)'
      : 'none, as a written page shows, so pid: has no exact mode',
    ...(has ? {} : { mend: SOFT_DIRTY_KERNEL }),
  }
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
