/**
 * QEMU's trace events of a dirty-rate measurement, by name and fields: those of
 * migration/trace-events and the two of the dirty-bitmap series. They are events of level `trace`
 * whose message is the name; the core has those about single pages.
 */

import { parseObject } from '../ground/arguments.js'
import { emit, type LogEvent } from '../ground/log.js'
import type { DirtyRateMeasurement } from './info.js'

/** Where they come from, for who filters by it. */
const TARGET = 'dirtyrate::qemu'

/** Each event's text in QEMU's log, its fields in braces. */
export const traceTexts = {
  dirtyrate_set_state: 'new state {new_state}',
  query_dirty_rate_info: 'current state {new_state}',
  get_ramblock_vfn_hash: 'ramblock name: {idstr}, vfn: {vfn}, hash: {hash}',
  calc_page_dirty_rate: 'ramblock name: {idstr}, new hash: {new_hash}, old hash: {old_hash}',
  skip_sample_ramblock: 'ramblock name: {idstr}, ramblock size: {ramblock_size}',
  find_page_matched: 'ramblock {idstr} addr or size changed',
  dirtyrate_calculate: 'dirty rate: {dirtyrate} MB/s',
  dirtyrate_do_calculate_vcpu: 'vcpu[{idx}]: {rate} MB/s',
  dirtyrate_do_calculate_bitmap: '{pages} pages has increased in {time} s, rate {rate}MB/s',
  dirtyrate_bitmap_reap: 'ramblock name: {idstr}, has {pages} dirty pages',
} as const

/** The names of QEMU's events. */
export type TraceName = keyof typeof traceTexts

/** All names. */
export const traceNames: readonly TraceName[] = Object.keys(traceTexts) as TraceName[]

/** Emits one of QEMU's events. */
export function trace(name: TraceName, fields: Record<string, string | number>): void {
  emit('trace', TARGET, name, fields)
}

/**
 * `event` as QEMU's log has it: its name, a space, its text. Undefined for an event that is none of
 * QEMU's.
 *
 * @example
 * ```ts
 * import { formatTrace, openTarget, setLog } from 'dirtyrate'
 *
 * setLog('trace', event => {
 *   const line = formatTrace(event)
 *   if (line !== undefined) console.log(line)
 * })
 * const target = await openTarget('guest:stride,rate=100MiB/s')
 * try {
 *   await target.measureDirtyRate({ window: '100ms' })
 * } finally {
 *   await target.close()
 *   setLog('off', null)
 * }
 * ```
 */
export function formatTrace(event: LogEvent): string | undefined {
  const { message, fields } = parseObject(event, 'event', 'what a listener of setLog() gets')
  if (!Object.hasOwn(traceTexts, message)) return undefined
  parseObject(fields, 'event: fields', 'what a listener of setLog() gets')
  const text = traceTexts[message as TraceName].replaceAll(
    /\{(\w+)\}/g,
    (_, name: string) => fields[name] ?? '',
  )
  return `${message} ${text}`
}

/** What QEMU traces about a finished window. */
export function traceCalculation({
  mode,
  blocks = [],
  pages,
  window,
  qapi,
}: DirtyRateMeasurement): void {
  const rate = qapi['dirty-rate'] ?? 0
  // Where QEMU has measured, QEMU has traced this itself, and the pages are not known here.
  if (mode === 'dirty-bitmap' && pages !== undefined) {
    for (const block of blocks)
      trace('dirtyrate_bitmap_reap', { idstr: block.name, pages: block.pages })
    trace('dirtyrate_do_calculate_bitmap', { pages, time: Math.floor(window.ns / 1e9), rate })
  }
  for (const vcpu of qapi['vcpu-dirty-rate'] ?? []) {
    trace('dirtyrate_do_calculate_vcpu', { idx: vcpu.id, rate: vcpu['dirty-rate'] })
  }
  trace('dirtyrate_calculate', { dirtyrate: rate })
}
