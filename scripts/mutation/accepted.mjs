// Lists of mutants that no test has to notice, each with the reason. A list is text: an entry is
// one line, the mutant and its reason with ` # ` between them; a line that begins with # is a
// comment. A mutant is named as its tool names it, without line and column, which move: the entry
// therefore stands for every mutant of that name, and `xN` at the end of the name says how many
// survive if it is not one.

import { readFileSync } from 'node:fs'

/** A mutant's name without where it stands in the file. */
export const placeless = name => name.replace(/^([^:\s]+):\d+:\d+: /, '$1: ')

/**
 * The entries of a list's text: a map from the mutant to `{ count, reason }`. Throws where a line
 * is none.
 */
export function parseAccepted(text) {
  const entries = new Map()
  text.split('\n').forEach((line, at) => {
    if (line.trim() === '' || line.startsWith('#')) return
    const match = /^(.+?)(?: x(\d+))? # (\S.*)$/.exec(line)
    if (!match) throw new Error(`line ${at + 1} has no ' # ' with a reason behind it: ${line}`)
    const [, name, count = '1', reason] = match
    if (entries.has(name)) throw new Error(`line ${at + 1} lists ${name} again`)
    entries.set(name, { count: Number(count), reason })
  })
  return entries
}

export const readAccepted = path => parseAccepted(readFileSync(path, 'utf8'))

/**
 * The disagreements, one sentence each: survivors that are not listed, and entries whose mutants
 * survive less often than the entry says. `isCovered` says whether the mutant of an entry was among
 * the mutants that were run.
 */
export function disagreements(accepted, survivors, isCovered = () => true) {
  const places = new Map()
  for (const name of survivors)
    places.set(placeless(name), [...(places.get(placeless(name)) ?? []), name])
  const unlisted = [...places].flatMap(([name, at]) =>
    at.length > (accepted.get(name)?.count ?? 0)
      ? at.map(
          one =>
            `no test notices ${one}${accepted.has(name) ? `: ${at.length} survive, ${accepted.get(name).count} listed` : ''}`,
        )
      : [],
  )
  const gone = [...accepted]
    .filter(([name, { count }]) => isCovered(name) && (places.get(name)?.length ?? 0) < count)
    .map(
      ([name, { count }]) =>
        `listed as accepted, but ${count - (places.get(name)?.length ?? 0)} of ${count} is caught or gone: ${name}`,
    )
  return [...unlisted, ...gone]
}
