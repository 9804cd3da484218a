/**
 * A scheme is data: help texts, refusals and their suggestions come from it. Opening a URI looks
 * its scheme up in a table.
 */

import {
  type OptionNames,
  parseFlag,
  parseOptions,
  parseSignal,
  show,
} from '../ground/arguments.js'
import { argumentError } from '../ground/errors.js'
import { knownNames } from '../ground/suggest.js'
import type { WantedMode } from '../measurement/mode.js'
import { type Named, withLikelyTarget } from './likely-target.js'
import type { Target } from './target.js'
import { parseTargetUri, SEE_LIST, type TargetUri } from './uri.js'

/** An option of a target, as the help, the completion and the page of targets show it. */
export interface TargetOption {
  /** The form of its value: `N`, `SIZE`, `FILE`, or choices as `on|off`. */
  readonly value: string
  /** The possible values, if `value` does not list them. */
  readonly choices?: readonly string[]
  /** What applies without the option; absent if nothing does. */
  readonly default?: string
  readonly meaning: string
}

/** The values that an option can have; none if there is no list of them. */
export function choicesOf({ value, choices }: TargetOption): readonly string[] {
  return choices ?? (value.includes('|') ? value.split('|') : [])
}

/** The options of a URI by their names. */
export type Given = Partial<Record<string, string>>

/** A kind of target. */
export interface Scheme<T extends Target = Target> extends Named {
  /** What the URI names after the colon, as the help shows it: `WORKLOAD`, `FILE`. */
  readonly operand: string
  /**
   * Whether opening makes a VM, whose mode `auto` is an exact one. The other kinds reach VMs that
   * are there, and that `dirtyrate list` shows; their `auto` is page sampling. Default: false.
   */
  readonly makesVm?: boolean
  /** One sentence about what it opens. */
  readonly about: string
  /** The options that only this scheme has. */
  readonly options: Readonly<Record<string, TargetOption>>
  /** The options that it shares with other schemes. */
  readonly common: Readonly<Record<string, TargetOption>>
  /**
   * The options that make sense for the name in the URI. For an unknown option, one of them is
   * suggested. Default: all.
   */
  useful?(uri: TargetUri): readonly string[]
  /** Opens `uri`, whose options have been checked to be known. */
  open(uri: TargetUri, given: Given, options: OpenOptions): Promise<T>
}

/** How {@link openTarget} opens a target. */
export interface OpenOptions {
  /**
   * The mode in which the target will be measured. A VM that is made for it gets the log that this
   * mode needs, unless the URI names a log.
   */
  mode?: WantedMode | undefined
  /** Ends the opening; the promise rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
  /**
   * The same as `force=on` in the URI: measure in a mode that is known to harm the VM, or to read
   * nonsense there. Only kinds of targets whose URI has this option take it.
   */
  force?: boolean | undefined
}

const OPEN: OptionNames<OpenOptions> = { mode: true, signal: true, force: true }

/** The scheme of a URI, its parts, and its options. Throws ERR_ARGUMENT. */
function find(
  uri: string,
  schemes: readonly Scheme[],
): { scheme: Scheme; parsed: TargetUri; given: Given } {
  // That a scheme is not known is said before that nothing is behind it.
  const alone = typeof uri === 'string' ? /^([^:]{1,100}):(?:,(?!,)|$)/.exec(uri)?.[1] : undefined
  if (alone !== undefined) schemeOf(alone, schemes)
  const parsed = parseTargetUri(uri, formOf(uri, schemes))
  const scheme = schemeOf(parsed.scheme, schemes)
  return { scheme, parsed, given: optionsOf(parsed, scheme) }
}

/**
 * Makes the function that checks the form of a target of any of `schemes`, and the names of its
 * options, without looking whether something is there.
 */
export function checker(schemes: readonly Scheme[]): (uri: string) => void {
  return uri => {
    try {
      find(uri, schemes)
    } catch (error) {
      throw withLikelyTarget(error, uri, schemes)
    }
  }
}

/** Makes the function that opens a target of any of `schemes`. */
export function opener(
  schemes: readonly Scheme[],
): (uri: string, options?: OpenOptions) => Promise<Target> {
  return async (uri, options = {}) => {
    try {
      const { scheme, parsed, given } = find(uri, schemes)
      const { signal, force } = parseOptions(options, OPEN)
      parseSignal(signal)
      return await scheme.open(parsed, forced(scheme, given, force), options)
    } catch (error) {
      throw withLikelyTarget(error, uri, schemes)
    }
  }
}

/** The scheme of this name. Throws ERR_ARGUMENT. */
function schemeOf(name: string, schemes: readonly Scheme[]): Scheme {
  const scheme = schemes.find(one => one.name === name)
  if (scheme !== undefined) return scheme
  throw argumentError(
    `target: the scheme ${show(name)} is not known`,
    knownNames(
      name,
      schemes.map(one => one.name),
    ),
  )
}

/** The hint for a URI that names nothing behind its scheme; undefined without a known scheme. */
function formOf(uri: string, schemes: readonly Scheme[]): string | undefined {
  const scheme = schemes.find(({ name }) => typeof uri === 'string' && uri.startsWith(`${name}:`))
  if (scheme === undefined) return undefined
  const { name, operand, operands = {}, makesVm = false } = scheme
  const [example = operand] = Object.keys(operands)
  return `Write it as '${name}:${example}'.${makesVm ? '' : ` ${SEE_LIST}`}`
}

/** The options with `force=on`, if the caller wants that. Throws ERR_ARGUMENT. */
function forced({ name, options, common }: Scheme, given: Given, force = false): Given {
  if (!parseFlag(force, 'force')) return given
  if (!Object.hasOwn({ ...options, ...common }, 'force')) {
    throw argumentError(
      `force: a target of ${name}: has no mode that would be refused`,
      'Leave it out.',
    )
  }
  return { ...given, force: 'on' }
}

/** The options of `uri`. Throws ERR_ARGUMENT for an option that its scheme does not have. */
function optionsOf(uri: TargetUri, { options, common, useful }: Scheme): Given {
  const known = { ...options, ...common }
  const unknown = [...uri.options.keys()].find(key => !Object.hasOwn(known, key))
  if (unknown !== undefined) {
    const likely = useful === undefined ? Object.keys(options) : useful(uri)
    throw argumentError(
      `target: ${show(unknown)} is not an option of ${uri.scheme}:`,
      knownNames(unknown, [...likely, ...Object.keys(common)]),
    )
  }
  return Object.fromEntries(uri.options)
}
