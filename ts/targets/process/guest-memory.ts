/** The guest's memory in a process: as the caller has said, or as the rule of the VMM finds it. */

import { show } from '../../ground/arguments.js'
import { argumentError, DirtyRateError } from '../../ground/errors.js'
import { formatSize } from '../../ground/units.js'
import type { GuestMemory } from '../target.js'
import { formatAddresses } from './maps.js'
import { VMM_NAMES } from './vmms/programs.js'
import type { FoundRange, ProcessFacts } from './vmms/vmm.js'
import { type FoundMemory, findRam } from './vmms/vmms.js'

const RANGE_FORM =
  'Give range=START-END in hexadecimal, as in /proc/PID/maps; several ranges are separated by colons.'

/** Reads the value of `range=`. Throws ERR_ARGUMENT. */
export function parseRanges(text: string): FoundRange[] {
  const parts = text.split(':')
  const ranges = parts.map((part, at) => {
    const [, from = '', to = ''] = /^(?:0x)?([0-9a-f]+)-(?:0x)?([0-9a-f]+)$/i.exec(part) ?? []
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)]
    if (!Number.isSafeInteger(end) || !(start < end))
      throw argumentError(`range: ${show(part)} is no range of addresses`, RANGE_FORM)
    return { name: parts.length === 1 ? 'ram' : `ram${at}`, start, end }
  })
  const ascending = [...ranges].sort((a, b) => a.start - b.start)
  if (ascending.some(({ end }, at) => end > (ascending[at + 1]?.start ?? end)))
    throw argumentError('range: two ranges have addresses in common', RANGE_FORM)
  return ranges
}

/** The value of `range=` for ranges. */
export function formatRanges(ranges: readonly FoundRange[]): string {
  return ranges.map(formatAddresses).join(':')
}

/** The memory that is measured, and its description. */
export interface Chosen {
  readonly ranges: readonly FoundRange[]
  readonly vmm: FoundMemory['vmm']
  readonly description: GuestMemory
}

/** Chooses the memory of a process. Throws ERR_TARGET_ABSENT, ERR_STATE. */
export function chooseMemory(
  process: ProcessFacts,
  given: { ranges: readonly FoundRange[] | undefined; minBytes: number | undefined },
): Chosen {
  const found = findRam(process, given.minBytes)
  if (given.ranges !== undefined)
    return chosen(given.ranges, found.vmm, ['The caller has given the ranges.'])
  const { ranges, untouchable, vmm } = found
  if (ranges.length === 0 && untouchable.length > 0) {
    throw new DirtyRateError(
      'ERR_STATE',
      `the memory of process ${process.pid} is served by a userfaultfd, so it is not read`,
      {
        hint: 'Wait until its migration (postcopy) or its snapshot is over, then open the target again.',
      },
    )
  }
  if (ranges.length === 0) throw nothingFound(process, found, given.minBytes)
  const by = `The process runs ${processName(process, vmm)}.`
  const untested = vmm.isTested ? [] : ['The rule for this program has not been tested with it.']
  return chosen(ranges, vmm, [by, ...found.why, ...untested])
}

function processName({ program }: ProcessFacts, { id }: FoundMemory['vmm']): string {
  return id === undefined ? `the unknown program '${program}'` : `${VMM_NAMES[id]} (${program})`
}

function chosen(
  ranges: readonly FoundRange[],
  vmm: FoundMemory['vmm'],
  why: readonly string[],
): Chosen {
  const described = ranges.map(({ name, start, end, guestAddress }) => ({
    name,
    addresses: formatAddresses({ start, end }),
    bytes: end - start,
    ...(guestAddress === undefined ? {} : { guestAddress }),
  }))
  return { ranges, vmm, description: { ranges: described, why } }
}

function nothingFound(
  process: ProcessFacts,
  { vmm }: FoundMemory,
  minBytes: number | undefined,
): DirtyRateError {
  const hint = `Give the memory with range=START-END, as in /proc/${process.pid}/maps, or min-size=SIZE to take all that is as large.`
  const noVcpus = process.vcpus === 0 ? ' and has no vCPU at KVM' : ''
  // The rule of unknown programs has looked for nothing then.
  if (noVcpus !== '' && vmm.id === undefined && minBytes === undefined) {
    return new DirtyRateError(
      'ERR_TARGET_ABSENT',
      `process ${process.pid} runs ${processName(process, vmm)}${noVcpus}, so none of its memory is taken for a guest's`,
      { hint },
    )
  }
  const least = minBytes ?? vmm.leastBytes
  const size = least === undefined ? '' : ` of ${formatSize(least)} and more`
  return new DirtyRateError(
    'ERR_TARGET_ABSENT',
    `process ${process.pid} runs ${processName(process, vmm)}${noVcpus}, and no guest memory was found in it. Looked for: ${vmm.looksFor}${size}`,
    { hint },
  )
}
