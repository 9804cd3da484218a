/** Checks arguments as QEMU's QAPI visitor does, with its texts for refusals. */

import { QapiError } from './error.js'

interface Field {
  type: 'integer' | { oneOf: readonly string[] }
  required?: boolean
}

/**
 * Checks `given` against `fields` in their order, then for members that are not among them. Throws
 * QapiError.
 */
export function checkArguments(given: unknown, fields: Record<string, Field>): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new QapiError("QMP input member 'arguments' must be an object")
  }
  const members = given as Record<string, unknown>
  for (const [name, { type, required }] of Object.entries(fields)) {
    const value = Object.hasOwn(members, name) ? members[name] : undefined
    if (value === undefined) {
      if (required) throw new QapiError(`Parameter '${name}' is missing`)
    } else if (type === 'integer') {
      if (!isInt64(value))
        throw new QapiError(`Invalid parameter type for '${name}', expected: integer`)
    } else if (typeof value !== 'string') {
      throw new QapiError(`Invalid parameter type for '${name}', expected: string`)
    } else if (!type.oneOf.includes(value)) {
      throw new QapiError(`Parameter '${name}' does not accept value '${value}'`)
    }
  }
  const unexpected = Object.keys(members).find(name => !Object.hasOwn(fields, name))
  if (unexpected !== undefined) throw new QapiError(`Parameter '${unexpected}' is unexpected`)
}

/**
 * Whether QEMU accepts a value as an integer. A value beyond 2^53 is out of every range here in any
 * case.
 */
function isInt64(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= -(2 ** 63) && (value as number) < 2 ** 63
}
