/** What somebody meant who wrote a target in another way: `stride,memory=4GiB`, `guest=stride`, `/boot/vmlinuz`. */

import { existsSync } from 'node:fs'
import { DirtyRateError, hasCode } from '../ground/errors.js'
import { closest } from '../ground/suggest.js'
import { schemes } from '../targets/open.js'
import { parseTargetUri } from '../targets/uri.js'
import { workloadKinds } from '../targets/vm/workload.js'

/** Whether `text` is the name of a scheme. */
const isScheme = (text = ''): boolean => schemes.some(({ name }) => name === text)

/** `error` with the target that was likely meant in its hint, if there is one and the hint proposes nothing yet. */
export function withLikelyTarget(error: unknown, uri: string): unknown {
  if (!hasCode(error, 'ERR_ARGUMENT')) return error
  const { message, hint } = error as DirtyRateError
  const meant =
    message.startsWith('target: ') && !hint.startsWith('Did you mean') ? likelyTarget(uri) : undefined
  if (meant === undefined) return error
  return new DirtyRateError('ERR_ARGUMENT', message, {
    hint: `Did you mean '${meant}'? ${hint}`,
    cause: error,
  })
}

/** A target of the right form that is like `uri`; undefined if none is, or if `uri` itself has that form. */
export function likelyTarget(uri: string): string | undefined {
  const likely = withCommas(withScheme(uri.trim()))
  if (likely === uri) return undefined
  try {
    const { scheme, name } = parseTargetUri(likely)
    return scheme !== 'guest' || workloadKinds.some(kind => kind === name) ? likely : undefined
  } catch {
    return undefined
  }
}

function withScheme(uri: string): string {
  if (schemes.some(({ name }) => uri.startsWith(`${name}:`))) return uri
  if (uri === 'guest') return `guest:${workloadKinds[0]}`
  const other = /^(\w+)[=/](.+)$/.exec(uri)
  if (other !== null && isScheme(other[1])) return `${other[1]}:${other[2]}`
  const [word = ''] = uri.split(/[,: ]/, 1)
  const kind = closest(word, workloadKinds)
  if (kind !== undefined) return `guest:${kind}${uri.slice(word.length)}`
  const [file = ''] = uri.split(',', 1)
  return file.includes('/') || existsSync(file) ? `kernel:${uri}` : uri
}

/** The options of a guest apart by one comma, and each with `=`. A kernel's file may have any character in its name. */
function withCommas(uri: string): string {
  if (!uri.startsWith('guest:')) return uri
  const options = uri
    .slice('guest:'.length)
    // A number with commas between its thousands.
    .replace(/(?<==\d{1,3})(,\d{3})+(?=,|$)/g, thousands => thousands.replaceAll(',', ''))
    .replace(/,,|[,:\s]+(?=[a-z-]+=)/g, ',')
    .replace(/(?<=,[a-z-]+):/g, '=')
  return `guest:${options}`
}
