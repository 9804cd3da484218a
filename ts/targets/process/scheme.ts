/** The scheme of VMs of any VMM, by the number of their process. */

import { existsSync } from 'node:fs'
import { parseCountText, show } from '../../ground/arguments.js'
import { argumentError, hasCode } from '../../ground/errors.js'
import { native } from '../../ground/native.js'
import { hasNoMemory } from '../../ground/proc.js'
import { parseSize } from '../../ground/units.js'
import type { Scheme } from '../scheme.js'
import { SEE_LIST } from '../uri.js'
import { chooseMemory, parseRanges } from './guest-memory.js'
import { explained, gone } from './permission.js'
import { readProcess } from './process-facts.js'
import { ProcessTarget } from './process-target.js'
import type { FoundRange } from './vmms/vmm.js'

/** The largest number that a Linux kernel gives a process (PID_MAX_LIMIT). */
const LARGEST_PID = 2 ** 22

/** A VM in another process. */
export const processScheme: Scheme<ProcessTarget> = {
  name: 'pid',
  operand: 'N',
  about: 'a virtual machine of any VMM, measured from outside of the process with this number',
  options: {
    range: {
      value: 'START-END',
      default: 'what is found',
      meaning: "the guest's memory in the process, as in /proc/N/maps; several with colons",
    },
    'min-size': {
      value: 'SIZE',
      default: 'what the VMM needs',
      meaning: 'the smallest mapping that is taken for memory of the guest',
    },
  },
  common: {},
  adopt(text) {
    const [, pid] = /^([1-9][0-9]*)(?:,|$)/.exec(text) ?? []
    return pid !== undefined && existsSync(`/proc/${pid}`) ? `pid:${text}` : undefined
  },
  async open({ name }, { range, 'min-size': minSize }, { signal }) {
    if (!/^\d+$/.test(name)) {
      throw argumentError(
        `pid: ${show(name)} is no number of a process`,
        `Write it as pid:4711. ${SEE_LIST}`,
      )
    }
    const pid = parseCountText(name, 'pid', 1, LARGEST_PID)
    if (range !== undefined && minSize !== undefined) {
      throw argumentError(
        'pid: range and min-size exclude each other',
        'range names the memory itself. min-size chooses among the mappings that the process has.',
      )
    }
    const ranges = range === undefined ? undefined : parseRanges(range)
    const minBytes = minSize === undefined ? undefined : parseSize(minSize, 'min-size')
    return openProcessTarget({ pid, ranges, minBytes }, signal)
  },
}

/** Which process to measure, and what of it. */
export interface ProcessChoice {
  readonly pid: number
  readonly ranges?: FoundRange[] | undefined
  readonly minBytes?: number | undefined
  /** The URI of the target, if it was opened by the URI of another kind. */
  readonly uri?: string
}

/**
 * Opens the VM in a process. Rejects with ERR_TARGET_ABSENT, ERR_TARGET_GONE,
 * ERR_TARGET_PERMISSION, ERR_ARGUMENT.
 */
export async function openProcessTarget(
  { pid, ranges, minBytes, uri }: ProcessChoice,
  signal: AbortSignal | undefined,
): Promise<ProcessTarget> {
  signal?.throwIfAborted()
  const process = openProcess(pid)
  try {
    const facts = await readProcess(pid)
    // What was read was this process, if it is still there.
    process.check()
    signal?.throwIfAborted()
    const chosen = chooseMemory(facts, { ranges, minBytes })
    const pageSize = native().hostPageSize()
    return new ProcessTarget({ pid, process, ranges: chosen.ranges, pageSize }, facts, chosen, {
      isRangeGiven: ranges !== undefined,
      minBytes,
      uri,
    })
  } catch (error) {
    process.close()
    const said = explained(pid, error)
    // What was opened was there, so that a process without memory has ended since then.
    throw !hasCode(said, 'ERR_TARGET_GONE') && !signal?.aborted && hasNoMemory(pid)
      ? gone(pid, said)
      : said
  }
}

function openProcess(pid: number): InstanceType<ReturnType<typeof native>['NativeProcess']> {
  try {
    return new (native().NativeProcess)(pid)
  } catch (error) {
    throw explained(pid, error)
  }
}
