/** How a VM is, in a few words. */

import { ago, clock, duration, measuredSize, safe } from '../format.js'
import type { Vm } from '../state/state.js'
import { ageOf } from '../state/usual.js'

/** What the page sees: a server, one that does not answer any more, or what was recorded. */
export type Sight = 'live' | 'lost' | 'recording'

export type StatusKind =
  | 'measured'
  | 'overdue'
  | 'waiting'
  | 'paused'
  | 'failed'
  | 'migrating'
  | 'gone'

export interface Status {
  readonly kind: StatusKind
  readonly text: string
  /** Whether the newest figure tells how the VM is now. */
  readonly isNow: boolean
}

/** The sign of each status, which is read without colour. */
export const STATUS_SIGNS: Readonly<Record<StatusKind, string>> = {
  measured: '●',
  overdue: '◌',
  waiting: '○',
  paused: '‖',
  failed: '!',
  migrating: '→',
  gone: '–',
}

/** `now` is the time of the server: ms since the Epoch. */
export function statusOf(vm: Vm, now: number, sight: Sight): Status {
  const { last } = vm
  const other = hindrance(vm)
  if (other !== undefined) return { ...other, isNow: false }
  if (last === undefined)
    return { kind: 'waiting', text: 'waiting for its first figure', isNow: false }
  // Where nobody says what time it is, only the time of the figure is known.
  if (sight === 'recording')
    return { kind: 'measured', text: `measured at ${clock(last.at)}`, isNow: false }
  if (sight === 'lost')
    return { kind: 'overdue', text: `last measured at ${clock(last.at)}`, isNow: false }
  const age = ageOf(vm, now)
  const text = `measured ${ago(now - last.at)}`
  if (age === 'overdue') return { kind: 'overdue', text: `overdue, ${text}`, isNow: false }
  return { kind: 'measured', text, isNow: age === 'now' }
}

/** Why the VM is not measured. */
function hindrance(vm: Vm): Omit<Status, 'isNow'> | undefined {
  const { failure, migration, state } = vm
  if (vm.isGone) return { kind: 'gone', text: 'not served any more' }
  if (migration?.underWay) {
    const { remainingBytes } = migration
    const rest = remainingBytes === undefined ? '' : `, ${measuredSize(remainingBytes)} remain`
    return { kind: 'migrating', text: `migrating${rest}` }
  }
  if (state === 'paused') return { kind: 'paused', text: 'paused' }
  if (failure !== undefined) return { kind: 'failed', text: safe(failure.text) }
  return undefined
}

/** When a failed target is tried again. */
export function retryText({ failure }: Vm): string | undefined {
  if (failure?.retryMs === undefined) return undefined
  return `It failed at ${clock(failure.at)}, and is tried again after ${duration(failure.retryMs)}.`
}
