/** Reads what `virsh domstats` and `virsh domjobinfo` print. */

/** The fields of a domain, such as `state.state`. */
export type Fields = ReadonlyMap<string, string>

/** The fields of each domain, by its name. */
export function parseDomainStats(text: string): Map<string, Fields> {
  const domains = new Map<string, Map<string, string>>()
  let fields: Map<string, string> | undefined
  for (const line of text.split('\n')) {
    const name = /^Domain: '(.*)'$/.exec(line)?.[1]
    if (name !== undefined) {
      fields = new Map()
      domains.set(name, fields)
      continue
    }
    const [, key, value] = /^ {2}([^=]+)=(.*)$/.exec(line) ?? []
    if (key !== undefined && value !== undefined) fields?.set(key, value)
  }
  return domains
}

/** The fields of `domjobinfo --rawstats`, such as `operation`. */
export function parseJob(text: string): Fields {
  const rows = [...text.matchAll(/^([^:\n]+?):\s*(.*?)\s*$/gm)]
  return new Map(rows.map(([, key = '', value = '']) => [key, value]))
}

/** A number of the fields; undefined if it is not there. */
export function numberIn(fields: Fields, key: string): number | undefined {
  const text = fields.get(key)
  const value = text === undefined || text === '' ? Number.NaN : Number(text)
  return Number.isFinite(value) ? value : undefined
}
