/** How a VM is, in a few words. */

import { ago, clock, duration, measuredSize, safe } from '../format.js'
import type { Vm } from '../state/state.js'

export type StatusKind = 'measured' | 'waiting' | 'paused' | 'failed' | 'migrating' | 'gone'

export interface Status {
  readonly kind: StatusKind
  readonly text: string
}

/** The sign of each status, which is read without colour. */
export const STATUS_SIGNS: Readonly<Record<StatusKind, string>> = {
  measured: '●',
  waiting: '○',
  paused: '‖',
  failed: '!',
  migrating: '→',
  gone: '–',
}

/** `now` is the time of the server: ms since the Epoch. */
export function statusOf(vm: Vm, now: number): Status {
  const { failure, migration, last, state } = vm
  if (vm.isGone) return { kind: 'gone', text: 'not served any more' }
  if (migration?.underWay) {
    const { remainingBytes } = migration
    const rest = remainingBytes === undefined ? '' : `, ${measuredSize(remainingBytes)} remain`
    return { kind: 'migrating', text: `migrating${rest}` }
  }
  if (state === 'paused') return { kind: 'paused', text: 'paused' }
  if (failure !== undefined) return { kind: 'failed', text: safe(failure.text) }
  if (last === undefined) return { kind: 'waiting', text: 'waiting for its first figure' }
  return { kind: 'measured', text: `measured ${ago(now - last.at)}` }
}

/** When a failed target is tried again. */
export function retryText({ failure }: Vm): string | undefined {
  if (failure?.retryMs === undefined) return undefined
  return `It failed at ${clock(failure.at)}, and is tried again after ${duration(failure.retryMs)}.`
}
