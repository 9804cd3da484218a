/**
 * The keys of a configuration that are options of the command line, in the words of that. The tests
 * hold them against the options, and against serve-config.schema.json.
 */

import type { ServeOptions } from '../options.js'
import type { Section } from './section.js'

/** A single value, a list of them, or true and false. */
type Form = 'text' | 'list' | 'flag'

/** How a target is measured. These are also keys of each source and of each target. */
export const MEASURING_KEYS: Readonly<Record<string, Form>> = {
  every: 'text',
  window: 'text',
  'curve-every': 'text',
  windows: 'list',
  mode: 'text',
  force: 'flag',
  'sample-pages': 'text',
  confidence: 'text',
  interval: 'text',
  design: 'text',
  seed: 'text',
  delay: 'text',
  'until-console': 'text',
  'console-timeout': 'text',
  bandwidth: 'list',
  downtime: 'list',
  profile: 'text',
}

/** What belongs to the server. It cannot change while the server runs. */
export const SERVER_KEYS: Readonly<Record<string, Form>> = {
  listen: 'text',
  'token-file': 'text',
  'allow-host': 'list',
  'tls-cert': 'text',
  'tls-key': 'text',
  otlp: 'text',
  'otlp-every': 'text',
  record: 'text',
}

/** The option that a key is in the API of commander. */
const optionOf = (key: string): string =>
  key.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())

/** The options that a section has, of those that `keys` name. */
export function optionsIn(
  section: Section,
  keys: Readonly<Record<string, Form>>,
): Partial<ServeOptions> {
  const values = Object.entries(keys).flatMap(([key, form]) => {
    const value = form === 'list' ? section.list(key)?.join(',') : section[form](key)
    return value === undefined ? [] : [[optionOf(key), value] as const]
  })
  return Object.fromEntries(values)
}

/** The first key of the server that differs between two sets of options. */
export function changedServerKey(one: ServeOptions, other: ServeOptions): string | undefined {
  const of = (options: ServeOptions, key: string): unknown =>
    (options as unknown as Record<string, unknown>)[optionOf(key)]
  return Object.keys(SERVER_KEYS).find(key => of(one, key) !== of(other, key))
}
