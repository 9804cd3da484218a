// Replaces a part of a page of docs/ that is made from the code. The part is between two comments.

/** Returns the page with `made` in its part `name`. Throws if the page has no such part. */
export function withPart(page, name, made) {
  const begin = `<!-- ${name} begin -->\n`
  const end = `<!-- ${name} end -->\n`
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  if (from < 0 || to < from) throw new Error(`the page has no part '${name}'`)
  return `${page.slice(0, from + begin.length)}\n${made}\n${page.slice(to)}`
}
