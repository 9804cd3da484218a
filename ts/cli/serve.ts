/** `dirtyrate serve TARGET…`: measures targets again and again, and serves the figures by HTTP. */

import { setMaxListeners } from 'node:events'
import manifest from '../../package.json' with { type: 'json' }
import { argumentError, DirtyRateError } from '../ground/errors.js'
import { parseLinks } from '../metrics/links.js'
import { parseListenAddress } from '../server/address.js'
import { serveHttp } from '../server/http.js'
import { Rounds } from '../server/rounds.js'
import { parseAccess } from './serve/access.js'
import { noting } from './serve/notes.js'
import { parseOpening } from './serve/opening.js'
import type { ServeOptions } from './serve/options.js'
import { parsePlan } from './serve/plan.js'
import { routesOf } from './serve/routes.js'
import type { Session } from './session.js'
import { checkChoice } from './several-targets.js'

export async function runServe(
  session: Session,
  given: readonly string[],
  options: ServeOptions,
): Promise<number> {
  session.streamDocuments()
  const uris = [...new Set(given)]
  checkChoice({ uris, all: false })
  const listen = parseListenAddress(options.listen, '--listen')
  const links = parseLinks(options)
  const plan = parsePlan(options, uris)
  const open = parseOpening(session, options, plan.measuring.mode)
  if (links.length > 0 && plan.curve === undefined) {
    throw argumentError(
      '--bandwidth: a migration is predicted from a curve, and --curve-every never measures none',
      'Leave out one of the two.',
    )
  }
  const access = await parseAccess(options, listen)
  // The library of the metrics is loaded by this command alone.
  const { Metrics: Registered, formatFor } = await import('../metrics/metrics.js')
  const metrics = new Registered({ version: manifest.version, links })
  const server = await serveHttp({ listen, access, routes: routesOf(metrics, formatFor) })
  const url = `${server.url}/metrics`
  session.document({ schemaVersion: 1, url, targets: uris })
  session.note(`Serving the metrics of ${counted(uris.length)} at ${url}, until interrupted.`)
  const stop = new AbortController()
  const signal = AbortSignal.any([session.signal, stop.signal])
  // Each target listens, and Node warns of more than ten listeners as of a leak.
  setMaxListeners(0, signal)
  const rounds = uris.map((uri, at) => {
    const offsetMs = (plan.everyMs * at) / uris.length
    const listener = noting(session, uri, metrics.add(uri))
    return new Rounds(() => open(uri, signal), { ...plan, offsetMs }, listener)
  })
  const running = rounds.map(one => one.run(signal))
  try {
    await Promise.all(running)
  } finally {
    stop.abort()
    await Promise.all([server.close(), ...running.map(one => one.catch(() => undefined))])
  }
  throw new DirtyRateError('ERR_CANCELLED', 'interrupted', {
    hint: 'The server has ended, and its targets are closed.',
  })
}

const counted = (targets: number): string => `${targets} target${targets === 1 ? '' : 's'}`
