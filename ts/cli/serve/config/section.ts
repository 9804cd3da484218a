/** A part of a configuration: keys with their values, each with its place. */

import { isMap, isScalar, isSeq, type Node, type Pair, type YAMLMap } from 'yaml'
import { show } from '../../../ground/arguments.js'
import { DirtyRateError } from '../../../ground/errors.js'
import { knownNames } from '../../../ground/suggest.js'
import type { ConfigDocument } from './document.js'

export class Section {
  readonly #document: ConfigDocument
  readonly #map: YAMLMap

  /** Throws ERR_ARGUMENT for a key that is not one of `known`. */
  constructor(document: ConfigDocument, map: YAMLMap, known: readonly string[]) {
    this.#document = document
    this.#map = map
    for (const { key } of this.#pairs()) {
      const name = isScalar(key) ? String(key.value) : undefined
      if (name !== undefined && known.includes(name)) continue
      throw document.mistake(
        key,
        name === undefined ? 'a key is no word' : `${show(name)} is not known here`,
        knownNames(name ?? '', known),
      )
    }
  }

  /** Where the section begins. */
  get place(): string {
    return this.#document.at(this.#map)
  }

  has(key: string): boolean {
    return this.#pair(key) !== undefined
  }

  /** A word or a number, as it is written; undefined if the key is not there. */
  text(key: string): string | undefined {
    const node = this.#value(key)
    return node === undefined ? undefined : this.#word(key, node)
  }

  /** Words: a list, or one text with commas between them. */
  list(key: string): string[] | undefined {
    const node = this.#value(key)
    if (node === undefined) return undefined
    const words = isSeq(node)
      ? node.items.map(item => this.#word(key, this.#document.resolved(item)))
      : this.#word(key, node).split(',')
    const trimmed = words.map(word => word.trim())
    if (trimmed.length > 0 && !trimmed.includes('')) return trimmed
    throw this.mistake(key, 'a word of the list is empty', `Write it as ${key}: [one, two].`)
  }

  /** Whether something is so. `yes` and `no` are the words that target URIs have for it. */
  flag(key: string): boolean | undefined {
    const node = this.#value(key)
    if (node === undefined) return undefined
    const value = isScalar(node) ? node.value : undefined
    if (value === true || value === 'yes') return true
    if (value === false || value === 'no') return false
    throw this.mistake(key, `${show(value)} is not true or false`, `Write ${key}: true.`)
  }

  /** The keys below a key. */
  section(key: string, known: readonly string[]): Section | undefined {
    const node = this.#value(key)
    return node === undefined ? undefined : this.#below(key, node, known)
  }

  /** A list, each of whose items has keys. */
  sections(key: string, known: readonly string[]): Section[] {
    const node = this.#value(key)
    if (node === undefined) return []
    if (!isSeq(node)) {
      throw this.mistake(key, 'it is not a list', `Begin each of its items with '- '.`)
    }
    return node.items.map(item => this.#below(key, this.#document.resolved(item), known))
  }

  /** An error about the value of a key, or about the section if the key is not there. */
  mistake(key: string, message: string, hint: string): DirtyRateError {
    const node = this.#document.resolved(this.#pair(key)?.value) ?? this.#pair(key)?.key
    return this.#document.mistake(node ?? this.#map, `${key}: ${message}`, hint)
  }

  #below(key: string, node: Node | undefined, known: readonly string[]): Section {
    if (isMap(node)) return new Section(this.#document, node, known)
    throw this.#document.mistake(
      node ?? this.#pair(key)?.key,
      `${key}: there are no keys`,
      isScalar(node) && known.includes('target')
        ? `Give it a key: target: ${String(node.value)}`
        : knownNames('', known),
    )
  }

  #word(key: string, node: Node | undefined): string {
    const value = isScalar(node) ? node.value : undefined
    if (typeof value === 'string') return value
    // A number is what was written: 0.950, or one that is too long for a number.
    if (typeof value === 'number' && isScalar(node)) return node.source ?? String(value)
    const [what, hint] = isScalar(node)
      ? value === null
        ? ['it has no value', 'Write one, or leave the key out.']
        : [`${show(value)} is no text`, 'Write it in quotes.']
      : ['it is no single value', 'Write one value, or leave the key out.']
    throw this.#document.mistake(node ?? this.#pair(key)?.key, `${key}: ${what}`, hint)
  }

  #value(key: string): Node | undefined {
    const pair = this.#pair(key)
    if (pair === undefined) return undefined
    const node = this.#document.resolved(pair.value)
    if (node !== undefined) return node
    throw this.#document.mistake(
      pair.key,
      `${key}: it has no value`,
      'Write one, or leave the key out.',
    )
  }

  #pair(key: string): Pair<Node, Node | null> | undefined {
    return this.#pairs().find(pair => isScalar(pair.key) && pair.key.value === key)
  }

  #pairs(): readonly Pair<Node, Node | null>[] {
    return this.#map.items as Pair<Node, Node | null>[]
  }
}

/**
 * Calls `check`, which may throw a mistake in an option of the command line, such as --window. If
 * one of the sections has the option as a key, the mistake is told as one of that place. The
 * sections are ordered from the innermost to the outermost.
 */
export function located<T>(sections: readonly Section[], check: () => T): T {
  try {
    const result = check()
    if (!(result instanceof Promise)) return result
    return result.catch((error: unknown) => {
      throw placed(error, sections)
    }) as T
  } catch (error) {
    throw placed(error, sections)
  }
}

function placed(error: unknown, sections: readonly Section[]): unknown {
  if (!(error instanceof DirtyRateError) || error.code !== 'ERR_ARGUMENT') return error
  const [, key, rest] = /^--([a-z-]+): (.*)$/s.exec(error.message) ?? []
  const section = sections.find(one => key !== undefined && one.has(key))
  if (section === undefined || key === undefined || rest === undefined) return error
  // Other options are keys here too.
  const asKeys = (text: string): string => text.replaceAll(/(?<![\w-])--([a-z])/g, '$1')
  return section.mistake(key, asKeys(rest), asKeys(error.hint))
}
