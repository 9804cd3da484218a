/** Finds the unit that was probably meant by another spelling: `4G`, `1sec`, `10Gbps`. */

import { closest } from './suggest.js'

/** Words for units of time. */
const TIMES: Readonly<Record<string, readonly string[]>> = {
  us: ['usec', 'usecs', 'microsecond', 'microseconds'],
  ms: ['msec', 'msecs', 'millisecond', 'milliseconds'],
  s: ['sec', 'secs', 'second', 'seconds'],
  min: ['m', 'mins', 'minute', 'minutes'],
  h: ['hr', 'hrs', 'hour', 'hours'],
}

/** A prefix, the `i` of a binary one, a word for bits or bytes, and "per second". */
const AMOUNT = /^([kmgt]?)(i?)(b|bits?|bytes?)?(\/s|\/sec|ps)?$/i

/**
 * The unit of `known` that `written` means, or whose spelling is most similar; undefined if there
 * is none.
 */
export function likelyUnit(written: string, known: readonly string[]): string | undefined {
  const word = written.toLowerCase()
  const time = Object.keys(TIMES).find(unit => known.includes(unit) && TIMES[unit]?.includes(word))
  if (time !== undefined) return time
  const amount = amountOf(written).flatMap(name => [name, `${name}/s`])
  const meant =
    amount.find(name => known.includes(name)) ?? known.find(name => name.toLowerCase() === word)
  // Only units with the same first letter are compared: `PB` is as near to `GB` as to `kB`, and to
  // propose either would change the amount. A single other letter is near to no unit.
  const similar = known.filter(name => name[0]?.toLowerCase() === word[0])
  return meant ?? (written.length > 1 ? closest(written, similar) : undefined)
}

/** The names of the amount that `written` may mean, the likeliest first. */
function amountOf(written: string): string[] {
  const [match, prefix = '', binary = '', word, per = ''] = AMOUNT.exec(written) ?? []
  if (match === undefined || (prefix === '' && word === undefined)) return []
  const large = prefix.toUpperCase()
  const decimal = large === 'K' ? 'k' : large
  // Without a word for bits or bytes, the binary units of memory are meant.
  const bytes =
    binary !== '' || word === undefined ? `${large === 'K' ? 'K' : large}iB` : `${decimal}B`
  // `Gb` and `gbps` mean bits, as for a network; `gb` is a careless spelling of `GB`.
  const isBits =
    /^bit/i.test(word ?? '') || (word === 'b' && (prefix !== decimal.toLowerCase() || per === 'ps'))
  return isBits && binary === '' ? [`${decimal}bit`, bytes] : [prefix === '' ? 'B' : bytes]
}
