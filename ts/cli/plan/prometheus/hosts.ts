/** The hosts whose VMs a Prometheus knows, and the curves of each of them. */

import { argumentError } from '../../../ground/errors.js'
import { type Answer, failure, type PrometheusClient } from './client.js'
import { type Curves, type CurvesOptions, curvesOf, METRIC_NAMES } from './curves.js'
import { equals, parseLabel, parseMatchers, selector } from './selector.js'

export interface HostChoice {
  /** The matchers of --match. */
  readonly matchers: readonly string[]
  /** The label whose values are the hosts. */
  readonly label: string
  /** The hosts of --host; empty for all of them. */
  readonly names: readonly string[]
}

export interface HostOptions {
  readonly match?: string
  readonly host?: string
  readonly hostLabel: string
}

/** The label that Prometheus gives to each address that it scrapes. */
export const HOST_LABEL = 'instance'
/** A host that had figures in this time is missed if it has none now. */
const MISSED_AFTER = '1h'
const UP = 'dirtyrate_target_up'

/** Throws ERR_ARGUMENT. */
export function parseHosts({ match, host, hostLabel }: HostOptions): HostChoice {
  const names = host?.split(',').map(name => name.trim()) ?? []
  if (names.includes(''))
    throw argumentError('--host: it has an empty name', 'Give names, with commas between them.')
  return {
    matchers: parseMatchers(match),
    label: parseLabel(hostLabel, '--host-label'),
    names: [...new Set(names)],
  }
}

/** The hosts to plan, and those that had figures, and have none now. */
export interface Found {
  readonly hosts: readonly string[]
  readonly missing: readonly string[]
}

/** Looks for hosts. Rejects with ERR_PROMETHEUS if there is none, or none of a given name. */
export async function findHosts(
  client: PrometheusClient,
  choice: HostChoice,
  note: (text: string) => void,
): Promise<Found> {
  const { label, matchers, names } = choice
  const up = selector(UP, [...matchers, `${label}!=""`])
  const all = async (expression: string): Promise<string[]> => {
    const answer = await client.query(`group by (${label}) (${expression})`)
    noteWarnings(answer, note)
    return answer.series.map(({ labels }) => labels[label] ?? '').sort()
  }
  const now = await all(up)
  const before = (await all(`last_over_time(${up}[${MISSED_AFTER}])`)).filter(
    host => !now.includes(host),
  )
  if (names.length > 0) {
    const hosts = names.map(name => hostNamed(name, now, before, choice))
    return { hosts: [...new Set(hosts)], missing: [] }
  }
  if (now.length === 0) {
    const gone = before.length === 0 ? '' : `; ${before.join(', ')} had some within ${MISSED_AFTER}`
    throw failure(`it has no series ${up} now${gone}`, UNSCRAPED)
  }
  return { hosts: now, missing: before }
}

const UNSCRAPED =
  'Check in Prometheus that up of dirtyrate serve is 1, and that --match fits its labels.'

/** The host that a name means: the whole label, or the label without its port. */
function hostNamed(
  name: string,
  now: readonly string[],
  before: readonly string[],
  { label }: HostChoice,
): string {
  const withoutPort = (host: string): string => host.replace(/:\d+$/, '')
  const means = (host: string): boolean => host === name || withoutPort(host) === name
  if (now.includes(name)) return name
  const fitting = now.filter(means)
  const [host] = fitting
  if (host !== undefined && fitting.length === 1) return host
  if (fitting.length > 1)
    throw argumentError(
      `--host: '${name}' is each of ${fitting.join(', ')}`,
      'Give one with its port.',
    )
  if (before.some(means)) {
    throw failure(
      `${name} had figures within ${MISSED_AFTER}, and has none now`,
      'dirtyrate serve has ended there, or Prometheus does not reach it: see up.',
    )
  }
  const known = now.length > 0 ? `The label ${label} has the values ${some(now)}.` : UNSCRAPED
  throw failure(`no host is called ${name}`, known)
}

const MOST_SHOWN = 5
const LONGEST_WARNING = 300

function some(names: readonly string[]): string {
  const rest = names.length - MOST_SHOWN
  const shown = names.slice(0, MOST_SHOWN).join(', ')
  return rest > 0 ? `${shown} and ${rest} more` : shown
}

/** The curves of the VMs of one host. */
export async function curvesAt(
  client: PrometheusClient,
  host: string,
  { label, matchers }: HostChoice,
  options: Omit<CurvesOptions, 'atSeconds'>,
  note: (text: string) => void,
): Promise<Curves> {
  const names = `__name__=~"${METRIC_NAMES}"`
  const answer = await client.query(selector('', [names, ...matchers, equals(label, host)]))
  noteWarnings(answer, note)
  const { series, atSeconds } = answer
  if (atSeconds === undefined) throw failure(`${host} has no figures any more`, UNSCRAPED)
  return curvesOf(series, { ...options, atSeconds })
}

function noteWarnings({ warnings }: Answer, note: (text: string) => void): void {
  const all = [...new Set(warnings)]
  for (const warning of all.slice(0, MOST_SHOWN))
    note(`Prometheus warns: ${warning.slice(0, LONGEST_WARNING)}`)
  if (all.length > MOST_SHOWN) note(`Prometheus warns ${all.length - MOST_SHOWN} more times.`)
}
