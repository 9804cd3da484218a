/** The table of VMMs, and how the RAM of a process is found. */

import { isUserfaultfd, type Mapping } from '../maps.js'
import { anyVmm } from './any.js'
import { cloudHypervisor } from './cloud-hypervisor.js'
import { crosvm } from './crosvm.js'
import { firecracker } from './firecracker.js'
import { own } from './own.js'
import { qemu } from './qemu.js'
import { type Found, leftOut, type ProcessFacts, type Vmm } from './vmm.js'

/** Every VMM; the first that recognises a process is taken. */
export const vmms: readonly Vmm[] = [qemu, cloudHypervisor, firecracker, crosvm, own, anyVmm]

/** The RAM of a process, and the VMM whose rule has found it. */
export interface FoundMemory extends Found {
  readonly vmm: Vmm
  /** What a userfaultfd serves, which must not be read. */
  readonly untouchable: readonly Mapping[]
}

/** Finds the RAM of a process. */
export function findRam(process: ProcessFacts, minBytes: number | undefined): FoundMemory {
  const vmm = vmms.find(vmm => vmm.recognises(process)) ?? anyVmm
  const { ranges, why } = vmm.find(process, minBytes)
  const served = process.mappings.filter(isUserfaultfd)
  const isServed = ({ start, end }: { start: number; end: number }): boolean =>
    served.some(mapping => mapping.start < end && start < mapping.end)
  const untouchable = served.filter(mapping =>
    ranges.some(({ start, end }) => mapping.start < end && start < mapping.end),
  )
  return {
    vmm,
    ranges: ranges.filter(range => !isServed(range)),
    untouchable,
    why: [
      ...why,
      ...leftOut(
        untouchable,
        'a userfaultfd serves them: a migration with postcopy, or a snapshot',
      ),
    ],
  }
}
