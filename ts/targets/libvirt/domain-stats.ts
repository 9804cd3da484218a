/** Reads what `virsh domstats` and `virsh domjobinfo` print. */

import { shortened } from '../../ground/arguments.js'
import { DirtyRateError } from '../../ground/errors.js'

/** The fields of a domain, such as `state.state`. */
export type Fields = ReadonlyMap<string, string>

/**
 * The fields of each domain, by its name. Throws ERR_QAPI if a domain, or a field of one, is there
 * twice, because nobody knows which of the two is true.
 */
export function parseDomainStats(text: string): Map<string, Fields> {
  const domains = new Map<string, Map<string, string>>()
  let fields: Map<string, string> | undefined
  for (const line of text.split('\n')) {
    const name = /^Domain: '(.*)'$/s.exec(line)?.[1]
    if (name !== undefined) {
      if (domains.has(name)) throw odd('domstats', line)
      fields = new Map()
      domains.set(name, fields)
      continue
    }
    const [, key, value] = /^ {2}([^=]+)=(.*)$/s.exec(line) ?? []
    if (key === undefined || value === undefined) continue
    if (fields?.has(key) === true) throw odd('domstats', line)
    fields?.set(key, value)
  }
  return domains
}

/** The fields of `domjobinfo --rawstats`, such as `operation`. */
export function parseJob(text: string): Fields {
  const rows = [...text.matchAll(/^([^:\n]+?):\s*(.*?)\s*$/gm)]
  return new Map(rows.map(([, key = '', value = '']) => [key, value]))
}

/**
 * A number of the fields; undefined if it is not there. Throws ERR_QAPI if the text is no whole
 * number, or one that is too large to be exact.
 */
export function numberIn(fields: Fields, key: string): number | undefined {
  const text = fields.get(key)
  if (text === undefined) return undefined
  const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value)) throw odd('domstats', `${key}=${text}`)
  return value
}

/** The same for a count. Throws ERR_QAPI for a negative number too. */
export function countIn(fields: Fields, key: string): number | undefined {
  const value = numberIn(fields, key)
  if (value !== undefined && value < 0) throw odd('domstats', `${key}=${value}`)
  return value
}

/**
 * A count on which nothing depends; undefined if it is not there, or if the text is no count.
 * libvirt itself prints a difference of two counts that went below 0 as a number of 20 digits.
 */
export function usableCountIn(fields: Fields, key: string): number | undefined {
  const text = fields.get(key) ?? ''
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  return Number.isSafeInteger(value) ? value : undefined
}

/** The error about a text that the real virsh never prints. */
export function odd(command: string, said: string): DirtyRateError {
  return new DirtyRateError(
    'ERR_QAPI',
    `virsh ${command} printed what it never prints: ${JSON.stringify(shortened(said))}`,
    { hint: 'Look whether virsh in PATH is the one of libvirt: command -v virsh.' },
  )
}
