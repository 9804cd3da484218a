/** The syntax of QEMU's command line: options, and the values of one option. */

/** The values of an option in QEMU's syntax, where `,,` is a comma. */
export type Values = ReadonlyMap<string, string>

/** The arguments of all options that have one of these names. */
export type ArgumentsOf = (...names: string[]) => string[]

/** Finds arguments in the words of a command line. */
export function argumentsIn(words: readonly string[]): ArgumentsOf {
  return (...names) =>
    words.flatMap((word, at) => {
      const value = words[at + 1]
      return names.includes(word.replace(/^--?/, '')) && word.startsWith('-') && value !== undefined
        ? [value]
        : []
    })
}

/**
 * The values of one option. Its first word may be a value of `implied` without a name. A JSON
 * object, as newer versions of QEMU take for some options, has the same meaning.
 */
export function parseValues(text: string, implied: string): Values {
  const json = text.startsWith('{') ? jsonValues(text) : undefined
  if (json !== undefined) return json
  const values = new Map<string, string>()
  for (const [at, part] of split(text).entries()) {
    const equals = part.indexOf('=')
    if (equals > 0) values.set(part.slice(0, equals), part.slice(equals + 1))
    else if (at === 0) values.set(implied, part)
    else if (part.startsWith('no')) values.set(part.slice(2), 'off')
    else values.set(part, 'on')
  }
  return values
}

function split(text: string): string[] {
  const parts = ['']
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ',') parts[parts.length - 1] += text[at] ?? ''
    else if (text[at + 1] === ',') {
      parts[parts.length - 1] += ','
      at++
    } else parts.push('')
  }
  return parts
}

function jsonValues(text: string): Values | undefined {
  try {
    const object: unknown = JSON.parse(text)
    if (typeof object !== 'object' || object === null) return undefined
    return new Map(
      Object.entries(object).flatMap(([key, value]) =>
        typeof value === 'object' ? [] : [[key, String(value)] as const],
      ),
    )
  } catch {
    return undefined
  }
}

/**
 * The last value of `key`, which may have no name if it is `implied`. QEMU joins the values of an
 * option that is given several times.
 */
export function lastValue(
  texts: readonly string[],
  key: string,
  implied: string = key,
): string | undefined {
  return texts
    .map(text => parseValues(text, implied).get(key))
    .findLast(value => value !== undefined)
}

/** A size, which counts in `unit` bytes if it names no unit; undefined if it is none. */
export function sizeOf(text: string | undefined, unit: number): number | undefined {
  const [, number, letter = ''] = /^(0x[0-9a-f]+|\d+(?:\.\d+)?)([BKMGTPE]?)/i.exec(text ?? '') ?? []
  if (number === undefined) return undefined
  const factor = letter === '' ? unit : 1024 ** 'BKMGTPE'.indexOf(letter.toUpperCase())
  return Math.round(Number(number) * factor)
}
