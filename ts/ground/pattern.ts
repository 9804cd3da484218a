/** Patterns of names: `*` stands for any characters, `?` for one, and all else for itself. */

/** Whether the whole of `text` has the form of `pattern`. The time is bounded by their product. */
export function matches(text: string, pattern: string): boolean {
  let at = 0
  let on = 0
  /** Where the last `*` is, and up to where it stands for the text. */
  let star = -1
  let upTo = 0
  while (at < text.length) {
    if (pattern[on] === '*') {
      star = on
      upTo = at
      on += 1
    } else if (on < pattern.length && (pattern[on] === '?' || pattern[on] === text[at])) {
      at += 1
      on += 1
    } else if (star !== -1) {
      upTo += 1
      at = upTo
      on = star + 1
    } else {
      return false
    }
  }
  while (pattern[on] === '*') on += 1
  return on === pattern.length
}

/** Which names are chosen: those of a pattern of `include`, without those of `exclude`. */
export interface NameChoice {
  /** All, if it is absent. */
  readonly include?: readonly string[] | undefined
  readonly exclude?: readonly string[] | undefined
}

/** Whether a name is chosen. */
export function isChosen(name: string, { include = ['*'], exclude = [] }: NameChoice): boolean {
  const isIn = (patterns: readonly string[]): boolean => patterns.some(one => matches(name, one))
  return isIn(include) && !isIn(exclude)
}
