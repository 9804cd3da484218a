/**
 * Target URIs. A URI has a scheme, a name, and options in QEMU's syntax:
 * `guest:stride,pages=25600,memory=1GiB`. `,,` stands for a comma.
 */

import { show } from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'

/** The parts of a target URI. */
export interface TargetUri {
  scheme: string
  /** The part before the first option: a workload or a file. */
  name: string
  options: ReadonlyMap<string, string>
}

/** Where a user finds targets. */
export const SEE_LIST = 'dirtyrate list shows the virtual machines and their targets.'

/** More than the paths and the command line of a kernel need, which the system limits itself. */
const LONGEST = 32_768

const FORM = `Write it as 'guest:stride,pages=25600,memory=1GiB' or 'kernel:FILE,memory=512MiB'. ${SEE_LIST}`

/**
 * Splits `uri` into its parts. Throws ERR_ARGUMENT if it does not have this form; `form` is the
 * hint.
 */
export function parseTargetUri(uri: string, form: string = FORM): TargetUri {
  if (typeof uri !== 'string') throw argumentError(`target: ${show(uri)} is not a string`, form)
  if (uri.length > LONGEST) {
    throw argumentError(
      `target: ${show(uri)} has ${uri.length} characters`,
      `A target has at most ${LONGEST}. ${SEE_LIST}`,
    )
  }
  const colon = uri.indexOf(':')
  if (colon <= 0) throw argumentError(`target: ${show(uri)} has no scheme`, form)
  const [name = '', ...rest] = splitOptions(uri.slice(colon + 1))
  if (name === '')
    throw argumentError(
      `target: ${show(uri)} names nothing after ${show(uri.slice(0, colon + 1))}`,
      form,
    )
  const options = new Map<string, string>()
  for (const option of rest) {
    const equals = option.indexOf('=')
    if (equals <= 0) {
      throw argumentError(
        `target: ${show(option)} is not KEY=VALUE`,
        'Separate options by one comma; a comma in a value is written ,,',
      )
    }
    const key = option.slice(0, equals)
    if (options.has(key))
      throw argumentError(`target: ${show(key)} is there twice`, 'Give each option once.')
    options.set(key, option.slice(equals + 1))
  }
  return { scheme: uri.slice(0, colon), name, options }
}

/** Makes a target URI from its parts; the opposite of {@link parseTargetUri}. */
export function formatTargetUri({ scheme, name, options }: TargetUri): string {
  return `${scheme}:${[escapeOption(name), ...[...options].map(([key, value]) => `${escapeOption(key)}=${escapeOption(value)}`)].join(',')}`
}

/** A name or a value with its commas doubled. */
export function escapeOption(text: string): string {
  return text.replaceAll(',', ',,')
}

function splitOptions(text: string): string[] {
  const parts: string[] = []
  let part = ''
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== ',') part += text[i]
    else if (text[i + 1] === ',') {
      part += ','
      i++
    } else {
      parts.push(part)
      part = ''
    }
  }
  parts.push(part)
  return parts
}
