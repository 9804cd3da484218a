/** The text of a configuration, and where its parts are in it. */

import {
  type Document,
  isAlias,
  isMap,
  LineCounter,
  type Node,
  type ParsedNode,
  parseDocument,
  type YAMLMap,
} from 'yaml'
import { argumentError, type DirtyRateError } from '../../../ground/errors.js'
import { readNamedFile } from '../../named-file.js'

/** More than any configuration has. A larger file is another one. */
const LONGEST = 2 ** 20

const NO_YAML = 'The file has to be YAML 1.2. Write a text with special characters in quotes.'
/** Mistakes for which there is a better hint, by the codes of the parser. */
const WORDS: Readonly<Record<string, readonly [message: string, hint: string]>> = {
  MULTIPLE_DOCS: ['the file has several documents', 'Leave one of them, without ---.'],
  DUPLICATE_KEY: ['the key is there twice', 'Leave one of the two out.'],
  TAB_AS_INDENT: ['a line begins with a tab', 'Indent it by spaces: YAML allows no tabs there.'],
}

/** A file as it was read. */
export class ConfigDocument {
  readonly #file: string
  readonly #lines = new LineCounter()
  readonly #document: Document.Parsed<ParsedNode>

  /** Throws ERR_ARGUMENT if the text is no YAML. */
  constructor(file: string, text: string) {
    this.#file = file
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false })
    // A warning is about a tag that is not known, or about a version.
    const [first] = [...this.#document.errors, ...this.#document.warnings]
    if (first === undefined) return
    const [message = sentence(first.message), hint] = WORDS[first.code] ?? [undefined, NO_YAML]
    throw argumentError(`${this.#at(first.pos[0])}: ${message}`, hint)
  }

  /** The keys at the top. Throws ERR_ARGUMENT if there are none. */
  get root(): YAMLMap {
    const { contents } = this.#document
    if (isMap(contents)) return contents
    throw this.mistake(
      contents ?? undefined,
      contents === null ? 'the file is empty' : 'the file has no keys',
      'Write at least one target: targets: [{ target: libvirt:web }]',
    )
  }

  /** The node itself, or the one that an alias stands for. */
  resolved(node: unknown): Node | undefined {
    const resolved = isAlias(node) ? node.resolve(this.#document) : node
    return (resolved ?? undefined) as Node | undefined
  }

  /** An error that says where it is. */
  mistake(node: Node | undefined, message: string, hint: string): DirtyRateError {
    return argumentError(`${this.at(node)}: ${message}`, hint)
  }

  /** The place of a node: `serve.yaml:3:5`. */
  at(node: Node | undefined): string {
    return this.#at(node?.range?.[0] ?? 0)
  }

  #at(offset: number): string {
    const { line, col } = this.#lines.linePos(offset)
    return `${this.#file}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
}

/** Reads a file. Rejects with ERR_ARGUMENT, or with the reason of `signal`. */
export async function readDocument(
  file: string,
  option: string,
  signal: AbortSignal,
): Promise<ConfigDocument> {
  const bytes = await readNamedFile(file, option, LONGEST, signal)
  if (bytes === undefined) {
    throw argumentError(
      `${option}: '${file}' has more than ${LONGEST} bytes`,
      'Give the file of the configuration, which is never so long.',
    )
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw argumentError(
      `${option}: '${file}' cannot be read: it is no text in UTF-8`,
      'Give a file of YAML.',
    )
  }
  return new ConfigDocument(file, text)
}

/** The words of the parser as a part of a sentence of ours. */
function sentence(message: string): string {
  const [first = ''] = message.split('\n')
  return `${first.charAt(0).toLowerCase()}${first.slice(1)}`.replace(/[.:]$/, '')
}
