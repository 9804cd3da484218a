/**
 * Finds the target that was probably meant by a text in another form: `stride,memory=4GiB`,
 * `guest=stride`, `/boot/vmlinuz`.
 */

import { DirtyRateError, hasCode } from '../ground/errors.js'
import { closest } from '../ground/suggest.js'
import { parseTargetUri } from './uri.js'

/** A longer text is not a slip of somebody who types a target, and takes long to compare. */
const LONGEST = 1000

/** The part of a scheme that suggestions need. */
export interface Named {
  /** The name of the scheme, which stands before the colon. */
  readonly name: string
  /** Everything that can stand after the colon, each with its meaning, if that is a list. */
  readonly operands?: Readonly<Record<string, string>>
  /**
   * The URI of this kind that was probably meant by `text` without a scheme; undefined if there is
   * none.
   */
  adopt?(text: string): string | undefined
}

/**
 * `error` with the target that was probably meant in its hint, if there is one and the hint
 * proposes nothing yet.
 */
export function withLikelyTarget(error: unknown, uri: unknown, kinds: readonly Named[]): unknown {
  if (typeof uri !== 'string' || !hasCode(error, 'ERR_ARGUMENT')) return error
  const { message, hint } = error as DirtyRateError
  if (!message.startsWith('target: ') || hint.startsWith('Did you mean')) return error
  const meant = uri.length > LONGEST ? undefined : likelyTarget(uri, kinds)
  if (meant === undefined) return error
  return new DirtyRateError('ERR_ARGUMENT', message, {
    hint: `Did you mean '${meant}'? ${hint}`,
    cause: error,
  })
}

/**
 * A target of the right form that is similar to `uri`; undefined if there is none, or if `uri`
 * already has the right form.
 */
export function likelyTarget(uri: string, kinds: readonly Named[]): string | undefined {
  const likely = withCommas(withScheme(uri.trim(), kinds), kinds)
  if (likely === uri) return undefined
  try {
    const { scheme, name } = parseTargetUri(likely)
    const { operands } = kinds.find(kind => kind.name === scheme) ?? {}
    return operands === undefined || Object.hasOwn(operands, name) ? likely : undefined
  } catch {
    return undefined
  }
}

function withScheme(uri: string, kinds: readonly Named[]): string {
  if (kinds.some(({ name }) => uri.startsWith(`${name}:`))) return uri
  const [, word, rest] = /^(\w+)(?:[=/](.+))?$/.exec(uri) ?? []
  const kind = kinds.find(({ name }) => name === word)
  if (kind !== undefined && rest !== undefined) return `${kind.name}:${rest}`
  const [first] = Object.keys(kind?.operands ?? {})
  if (kind !== undefined && first !== undefined) return `${kind.name}:${first}`
  for (const { name, operands = {}, adopt } of kinds) {
    const [start = ''] = uri.split(/[,: ]/, 1)
    const operand = closest(start, Object.keys(operands))
    if (operand !== undefined) return `${name}:${operand}${uri.slice(start.length)}`
    const adopted = adopt?.(uri)
    if (adopted !== undefined) return adopted
  }
  return uri
}

/**
 * Separates the options by one comma each, and writes each with `=`. This is done only if no name
 * of the kind can have such characters.
 */
function withCommas(uri: string, kinds: readonly Named[]): string {
  const kind = kinds.find(
    ({ name, operands }) => operands !== undefined && uri.startsWith(`${name}:`),
  )
  if (kind === undefined) return uri
  const options = uri
    .slice(kind.name.length + 1)
    // Removes commas between the thousands of a number.
    .replace(/(?<==\d{1,3})(,\d{3})+(?=,|$)/g, thousands => thousands.replaceAll(',', ''))
    .replace(/,,|[,:\s]+(?=[a-z-]+=)/g, ',')
    .replace(/(,[a-z-]+):/g, '$1=')
  return `${kind.name}:${options}`
}
