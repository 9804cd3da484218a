/** Checks arguments as QEMU's QAPI visitor does, with its texts for refusals. */

import { QapiError } from './error.js'
import type { ObjectType, QapiType } from './schema.js'

/**
 * Checks `given` against the members of `type` in their order, then for members that are not among
 * them. Throws QapiError.
 */
export function checkArguments(given: unknown, type: ObjectType): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new QapiError("QMP input member 'arguments' must be an object")
  }
  const members = given as Record<string, unknown>
  for (const { name, type: expected, optional } of type.members) {
    const value = Object.hasOwn(members, name) ? members[name] : undefined
    if (value !== undefined) checkValue(value, expected, name, name)
    else if (optional !== true) throw new QapiError(`Parameter '${name}' is missing`)
  }
  const known = type.members.map(({ name }) => name)
  const unexpected = Object.keys(members).find(name => !known.includes(name))
  if (unexpected !== undefined) throw new QapiError(`Parameter '${unexpected}' is unexpected`)
}

/**
 * Checks one value. `path` is how QEMU calls it in most errors; an item of a list has no `name`,
 * which QEMU prints as null.
 */
function checkValue(value: unknown, type: QapiType, path: string, name = 'null'): void {
  switch (type.meta) {
    case 'array':
      if (!Array.isArray(value)) throw wrongType(path, 'array')
      for (const [at, item] of value.entries()) checkValue(item, type.element, `${path}[${at}]`)
      break
    case 'enum':
      if (typeof value !== 'string') throw wrongType(path, 'string')
      if (!type.values.includes(value))
        throw new QapiError(`Parameter '${name}' does not accept value '${value}'`)
      break
    case 'builtin':
      if (type.name === 'int' && !isInt64(value)) throw wrongType(path, 'integer')
      if (type.name === 'str' && typeof value !== 'string') throw wrongType(path, 'string')
      break
    default:
  }
}

const wrongType = (path: string, expected: string): QapiError =>
  new QapiError(`Invalid parameter type for '${path}', expected: ${expected}`)

/**
 * Whether QEMU accepts a value as an integer. A value beyond 2^53 is out of every range here in any
 * case.
 */
function isInt64(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= -(2 ** 63) && (value as number) < 2 ** 63
}
