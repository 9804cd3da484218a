/** JSON values as a client sent them, and the text in which an answer is sent. */

/** A number as it was written: an id goes back digit for digit, and 1.0 is no integer to QEMU. */
export class JsonNumber {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  /** The number for a command: an integer of 64 bits; undefined for every other number. */
  get integer(): number | undefined {
    if (!/^-?[0-9]+$/.test(this.text)) return undefined
    const value = BigInt(this.text)
    return value === BigInt.asIntN(64, value) ? Number(value) : undefined
  }
}

export type Json = null | boolean | string | JsonNumber | readonly Json[] | JsonObject
/** A map, because a client may call a member `__proto__`. */
export type JsonObject = ReadonlyMap<string, Json>

/**
 * `value` in the form in which a command takes its arguments. A number that is no integer of 64
 * bits stays a {@link JsonNumber}, which no command accepts.
 */
export function plain(value: Json): unknown {
  if (value instanceof JsonNumber) return value.integer ?? value
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Map) {
    return Object.fromEntries(
      [...(value as JsonObject)].map(([name, member]) => [name, plain(member)]),
    )
  }
  return value
}

/** `value` as QEMU writes JSON: in ASCII, with a space behind each colon and each comma. */
export function jsonText(value: unknown): string {
  // QEMU has no negative zero among its integers.
  if (value instanceof JsonNumber) return value.text === '-0' ? '0' : value.text
  if (typeof value === 'string') return stringText(value)
  if (Array.isArray(value)) return `[${value.map(jsonText).join(', ')}]`
  if (typeof value === 'object' && value !== null) {
    const members = value instanceof Map ? [...value] : Object.entries(value)
    const texts = members.flatMap(([name, member]) =>
      member === undefined ? [] : [`${stringText(String(name))}: ${jsonText(member)}`],
    )
    return `{${texts.join(', ')}}`
  }
  return JSON.stringify(value)
}

/** The characters that have an escape of their own. */
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ['\\', '\\\\'],
  ['\b', '\\b'],
  ['\f', '\\f'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
])

const escaped = (unit: string): string =>
  ESCAPES.get(unit) ?? `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`

const stringText = (text: string): string => `"${text.replace(/[^\x20-\x7e]|["\\]/g, escaped)}"`
