/** `dirtyrate serve TARGET…`: measures targets again and again, and serves the figures by HTTP. */

import manifest from '../../package.json' with { type: 'json' }
import { DirtyRateError } from '../ground/errors.js'
import { parseListenAddress } from '../server/address.js'
import { Budget } from '../server/budget.js'
import { CpuTime } from '../server/cpu-time.js'
import { serveHttp } from '../server/http.js'
import { hostPace } from '../server/pace.js'
import { parseAccess } from './serve/access.js'
import { parseBudget } from './serve/budget.js'
import { Fleet, type FleetTarget } from './serve/fleet.js'
import { noting } from './serve/notes.js'
import type { ServeOptions } from './serve/options.js'
import { costSamples } from './serve/own-metrics.js'
import { routesOf } from './serve/routes.js'
import { parseSettings } from './serve/settings.js'
import type { Session } from './session.js'
import { checkChoice } from './several-targets.js'
import { makesVm } from './target.js'

export async function runServe(
  session: Session,
  given: readonly string[],
  options: ServeOptions,
): Promise<number> {
  session.streamDocuments()
  const uris = [...new Set(given)]
  checkChoice({ uris, all: false })
  const listen = parseListenAddress(options.listen, '--listen')
  const settings = parseSettings(session, options, uris)
  const share = options.budget === undefined ? undefined : parseBudget(options.budget, '--budget')
  const access = await parseAccess(options, listen)
  // The library of the metrics is loaded by this command alone.
  const { Metrics, formatFor } = await import('../metrics/metrics.js')
  const cpuTime = new CpuTime(uris.some(makesVm))
  const budget = share === undefined ? undefined : new Budget(share, () => cpuTime.spentMs())
  const metrics = new Metrics({
    version: manifest.version,
    more: () => costSamples(cpuTime, budget),
  })
  const server = await serveHttp({ listen, access, routes: routesOf(metrics, formatFor) })
  const url = `${server.url}/metrics`
  session.document({ schemaVersion: 1, url, targets: uris })
  session.note(`Serving the metrics of ${counted(uris.length)} at ${url}, until interrupted.`)
  const stop = new AbortController()
  const fleet = new Fleet(
    ({ label, name, settings: { links } }) => {
      const series = metrics.add(label, { links, name })
      return {
        ...noting(session, label, series),
        changed: target => series.predictOver(target.settings.links),
        gone: () => metrics.remove(series),
      }
    },
    budget ?? hostPace,
    AbortSignal.any([session.signal, stop.signal]),
  )
  fleet.serve(
    uris.map((uri): FleetTarget => ({ key: uri, uri, label: uri, isNamed: true, settings })),
  )
  try {
    await fleet.ended()
  } finally {
    stop.abort()
    await Promise.all([server.close(), fleet.closed()])
  }
  throw new DirtyRateError('ERR_CANCELLED', 'interrupted', {
    hint: 'The server has ended, and its targets are closed.',
  })
}

const counted = (targets: number): string => `${targets} target${targets === 1 ? '' : 's'}`
