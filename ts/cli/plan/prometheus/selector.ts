/** Which series of a Prometheus are asked for: matchers of labels, in its own language. */

import { argumentError } from '../../../ground/errors.js'

/** `name="value"`, with one of the four operators, and what may follow it. */
const MATCHER = /^\s*([A-Za-z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\.)*)"\s*(,|$)/
const LONGEST = 4096
const FORM = `Write matchers as in Prometheus, with commas between them: --match 'job="dirtyrate",site=~"a|b"'.`

/** The matchers of --match, one by one. Throws ERR_ARGUMENT. */
export function parseMatchers(text: string | undefined): string[] {
  if (text === undefined) return []
  const found: string[] = []
  let rest = text
    .trim()
    .replace(/^\{(.*)\}$/s, '$1')
    .replace(/,\s*$/, '')
  if (rest === '' || text.length > LONGEST) throw argumentError('--match: it has no matcher', FORM)
  while (rest !== '') {
    const [all = '', name, operator, value] = MATCHER.exec(rest) ?? []
    if (all === '') throw argumentError(`--match: '${rest}' is not a matcher`, FORM)
    if (name === '__name__')
      throw argumentError('--match: the names of the series are chosen by dirtyrate', FORM)
    found.push(`${name}${operator}"${value}"`)
    rest = rest.slice(all.length)
  }
  return found
}

/** A label that has this value. */
export function equals(label: string, value: string): string {
  return `${label}=${quoted(value)}`
}

/** A name of a label. Throws ERR_ARGUMENT. */
export function parseLabel(text: string, name: string): string {
  if (/^[A-Za-z_]\w*$/.test(text) && !/^(__name__|target|window|bound)$/.test(text)) return text
  throw argumentError(
    `${name}: '${text}' is not a label that a host can have`,
    'Give the label whose values are your hosts: instance, or node.',
  )
}

/** A text as Prometheus reads it: with the escapes of Go. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
}

export const selector = (name: string, matchers: readonly string[]): string =>
  `${name}{${matchers.join(',')}}`
