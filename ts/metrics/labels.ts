/**
 * The values of labels. Names come from the command line, from libvirt and from hypervisors, and
 * may be hostile. The exposition format itself escapes quotes and backslashes.
 */

import { UNSHOWABLE } from '../ground/readable.js'

/** The longest value of a label, in UTF-16 code units. */
const LONGEST = 200
const REPLACEMENT = '\ufffd'

/** `text` as the value of a label: well-formed, without control characters, and not too long. */
export function labelOf(text: string): string {
  const shown = wellFormed(text).replaceAll(UNSHOWABLE, REPLACEMENT)
  if (shown.length <= LONGEST) return shown
  return wellFormed(`${shown.slice(0, LONGEST - 3)}...`)
}

/** Replaces each surrogate that has no other half, as `toWellFormed()` of newer runtimes does. */
function wellFormed(text: string): string {
  return text.replaceAll(/\p{Cs}/gu, REPLACEMENT)
}

/** The label of `text`, which is none of `taken`. */
export function uniqueLabelOf(text: string, taken: ReadonlySet<string>): string {
  const label = labelOf(text)
  if (!taken.has(label)) return label
  for (let number = 2; ; number++) {
    const suffix = `#${number}`
    const next = `${wellFormed(label.slice(0, LONGEST - suffix.length))}${suffix}`
    if (!taken.has(next)) return next
  }
}
