/** What the command line of a VMM says of its VM, and how such a command line is read. */

import { parseValues } from '../../qemu/option-syntax.js'

/** What a command line says. */
export interface CommandLine {
  readonly name?: string
  readonly memoryBytes?: number
  readonly vcpus?: number
}

export const MIB: number = 2 ** 20

/** The value of an option, which follows it or stands behind an equals sign. */
export function optionOf(words: readonly string[], ...names: string[]): string | undefined {
  for (const [at, word] of words.entries()) {
    if (names.includes(word)) return words[at + 1]
    const equals = names.find(name => word.startsWith(`${name}=`))
    if (equals !== undefined) return word.slice(equals.length + 1)
  }
  return undefined
}

/** The part `key` of the value of an option, which may have no name. */
export const partOf = (text: string | undefined, key: string): string | undefined =>
  text === undefined ? undefined : parseValues(text, key).get(key)

export const nameIn = (text: string | undefined): CommandLine =>
  text === undefined ? {} : { name: text }

export function vcpusIn(text: string | undefined): CommandLine {
  return /^[1-9]\d*$/.test(text ?? '') ? { vcpus: Number(text) } : {}
}

/** A size, which counts in `unit` bytes if it names no unit. */
export function memoryIn(text: string | undefined, unit = 1): CommandLine {
  const [, digits, suffix = ''] = /^(\d+(?:\.\d+)?)([KMGT]?)B?$/i.exec(text ?? '') ?? []
  if (digits === undefined) return {}
  const factor = suffix === '' ? unit : 1024 ** ('KMGT'.indexOf(suffix.toUpperCase()) + 1)
  return { memoryBytes: Math.round(Number(digits) * factor) }
}
