/**
 * Checks that what comes over a connection or out of a file is an event, so that a page or a
 * program can use its fields. Each check throws ERR_ARGUMENT.
 */

import { show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { modes } from '../results/mode.js'
import type { Control, PackedEvent } from './records.js'

/** What a field may be. */
type Check = (value: unknown) => boolean
type Fields = Readonly<Record<string, Check>>

const isText: Check = value => typeof value === 'string'
const isFlag: Check = value => typeof value === 'boolean'
const isNumber: Check = value => Number.isFinite(value)
const isCount: Check = value => Number.isSafeInteger(value) && Number(value) >= 0
const isAmount: Check = value => isNumber(value) && Number(value) >= 0
const oneOf =
  (...choices: readonly unknown[]): Check =>
  value =>
    choices.includes(value)
const maybe =
  (check: Check): Check =>
  value =>
    value === undefined || check(value)
const listOf =
  (check: Check): Check =>
  value =>
    Array.isArray(value) && value.every(check)
const object =
  (fields: Fields): Check =>
  value =>
    typeof value === 'object' && value !== null && wrongField(value, fields) === undefined

const isInterval = object({
  low: isAmount,
  high: value => value === null || isAmount(value),
  confidence: isAmount,
})
const areWarnings = listOf(object({ code: isText, message: isText }))

const EVENTS: Readonly<Record<PackedEvent['kind'], Fields>> = {
  target: {
    name: maybe(isText),
    memoryBytes: isCount,
    vcpus: maybe(isCount),
    state: isText,
    software: maybe(isText),
  },
  measured: {
    mode: oneOf(...modes),
    requestedMs: isAmount,
    windowNs: isAmount,
    pausedNs: maybe(isAmount),
    bytesPerSecond: isAmount,
    interval: isInterval,
    pages: maybe(isAmount),
    pageSize: maybe(isCount),
    vcpus: maybe(listOf(object({ id: isCount, bytesPerSecond: isAmount }))),
    complete: isFlag,
    warnings: areWarnings,
  },
  curve: {
    curve: object({
      mode: oneOf(...modes),
      startedAt: isText,
      points: listOf(
        object({
          windowNs: isAmount,
          requestedMs: isAmount,
          bytesPerSecond: isAmount,
          interval: isInterval,
        }),
      ),
      complete: isFlag,
      warnings: areWarnings,
    }),
  },
  failed: { code: isText, message: isText, hint: maybe(isText), retryMs: maybe(isAmount) },
  migrating: {
    migration: object({
      status: isText,
      underWay: isFlag,
      elapsedMs: maybe(isAmount),
      remainingBytes: maybe(isAmount),
      transferredBytes: maybe(isAmount),
      passes: maybe(isAmount),
      dirtyPagesPerSecond: maybe(isAmount),
      pageSize: maybe(isCount),
      expectedDowntimeMs: maybe(isAmount),
      downtimeMs: maybe(isAmount),
      error: maybe(isText),
    }),
  },
  gone: {},
}

const CONTROLS: Readonly<Record<Control['kind'], Fields>> = {
  hello: {
    protocol: isCount,
    version: isText,
    run: isText,
    source: oneOf('live', 'recording'),
    first: isCount,
    last: isCount,
    targets: listOf(isText),
  },
  gap: { after: isCount, upTo: isCount, why: oneOf('gone', 'slow') },
  'caught-up': { last: isCount },
  alive: { at: isNumber },
  'curve-answer': { target: isText, accepted: isFlag, reason: maybe(isText) },
}

/** `value` if it is an event. Its cells are checked elsewhere. */
export function checkEvent(value: unknown): PackedEvent {
  return checked<PackedEvent>(value, EVENTS, { at: isNumber, target: isText }, 'an event')
}

/** `value` if it is something that the server says beside the events. */
export function checkControl(value: unknown): Control {
  return checked<Control>(value, CONTROLS, {}, 'a control record')
}

function checked<T extends { readonly kind: string }>(
  value: unknown,
  kinds: Readonly<Record<string, Fields>>,
  common: Fields,
  what: string,
): T {
  const { kind } = Object(value) as Partial<T>
  const fields = typeof kind === 'string' && Object.hasOwn(kinds, kind) ? kinds[kind] : undefined
  if (fields === undefined) throw argumentError(`${what} has the kind ${show(kind)}`)
  const wrong = wrongField(value as object, { ...common, ...fields })
  if (wrong !== undefined) throw argumentError(`${what} of the kind ${kind} has a wrong ${wrong}`)
  return value as T
}

/** The name of a field that is not as it has to be. */
function wrongField(value: object, fields: Fields): string | undefined {
  for (const [name, check] of Object.entries(fields))
    if (!check((value as Record<string, unknown>)[name])) return name
  return undefined
}
