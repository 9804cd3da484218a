/** Finds the known word that was most probably meant by an unknown one. */

/** One slip is allowed for each three letters. With more, two words have little in common. */
const LETTERS_PER_SLIP = 3

/**
 * The word of `known` whose spelling is most similar to `word`, apart from case and hyphens;
 * undefined if none is similar. Two words are similar only if they have a letter in common, so that
 * an empty word is similar to none.
 */
export function closest(word: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.toLowerCase().replaceAll(/[-_ ]/g, '')
  const wanted = plain(word)
  const most = Math.max(1, Math.floor(wanted.length / LETTERS_PER_SLIP))
  // The distance of two words is at least the difference of their lengths, so much longer and much
  // shorter names need not be compared.
  const near = known.filter(name => Math.abs(plain(name).length - wanted.length) <= most)
  const ranked = near
    .map(name => ({ name, slips: slipsBetween(wanted, plain(name)) }))
    .filter(
      ({ name, slips }) => slips <= most && slips < Math.min(wanted.length, plain(name).length),
    )
    .sort((a, b) => a.slips - b.slips)
  return (
    ranked[0]?.name ??
    abbreviated(wanted, known) ??
    known.find(name => isPart(name, word)) ??
    known.find(name => SYNONYMS[name]?.includes(wanted))
  )
}

/** Whether `name` is one of the parts of `word` between hyphens: `ring` of `dirty-ring`. */
function isPart(name: string, word: string): boolean {
  return name !== '' && word.toLowerCase().split(/[-_ ]/).includes(name)
}

/** Other words for the values of a switch. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  on: ['yes', 'true', '1', 'enable'],
  off: ['no', 'false', '0', 'disable'],
}

/** Shorter abbreviations would fit too many words. */
const SHORTEST_ABBREVIATION = 3

/**
 * The only word of `known` that begins with `wanted`, or in which a part after a hyphen begins with
 * it: `ring` means `dirty-ring`. The whole part before a hyphen does not count, because several
 * words share it, as `dirty`.
 */
function abbreviated(wanted: string, known: readonly string[]): string | undefined {
  if (wanted.length < SHORTEST_ABBREVIATION) return undefined
  const found = known.filter(name => {
    const parts = name.toLowerCase().split('-')
    if (parts[0] === wanted) return false
    return parts.join('').startsWith(wanted) || parts.some(part => part.startsWith(wanted))
  })
  return found.length === 1 ? found[0] : undefined
}

/**
 * A hint that lists the known names. It begins with the name that `word` most likely meant. If
 * there is no known name, the hint says to leave the word out.
 */
export function knownNames(word: string, known: readonly string[]): string {
  if (known.length === 0) return 'Leave it out.'
  const meant = closest(word, known)
  return `${meant === undefined ? '' : `Did you mean '${meant}'? `}Known: ${known.join(', ')}.`
}

/**
 * Letters to add, remove, replace or exchange with their neighbour to get from `a` to `b`: the
 * optimal string alignment distance.
 */
function slipsBetween(a: string, b: string): number {
  let before: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      const isExchanged = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      row[j] = Math.min(
        (above[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (above[j - 1] ?? 0) + (isSame ? 0 : 1),
        isExchanged ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      )
    }
    before = above
    above = row
  }
  return above[b.length] ?? 0
}
