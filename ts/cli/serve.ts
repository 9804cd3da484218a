/** `dirtyrate serve TARGET…`: measures targets again and again, and serves the figures by HTTP. */

import manifest from '../../package.json' with { type: 'json' }
import { argumentError, DirtyRateError } from '../ground/errors.js'
import type { Metrics } from '../metrics/metrics.js'
import { parseListenAddress } from '../server/address.js'
import { Budget } from '../server/budget.js'
import { CpuTime } from '../server/cpu-time.js'
import { serveHttp } from '../server/http.js'
import { hostPace } from '../server/pace.js'
import { parseAccess } from './serve/access.js'
import { announce } from './serve/announce.js'
import { parseBudget } from './serve/budget.js'
import type { Config } from './serve/config/config.js'
import { Dashboard } from './serve/dashboard.js'
import { together } from './serve/events.js'
import { Fleet, type FleetListener, type FleetTarget } from './serve/fleet.js'
import { Hangups } from './serve/hangups.js'
import type { Renewable } from './serve/host.js'
import { noting } from './serve/notes.js'
import type { ServeOptions } from './serve/options.js'
import { Pushing, parseOtlp } from './serve/otlp.js'
import { costSamples } from './serve/own-metrics.js'
import { openRecording, serveRecording } from './serve/recorded.js'
import { routesOf } from './serve/routes.js'
import { parseSettings } from './serve/settings.js'
import { readCertificate } from './serve/tls.js'
import type { Session } from './session.js'
import { checkChoice } from './several-targets.js'
import { makesVm } from './target.js'

/** `isGiven` says whether an option was on the command line. */
export async function runServe(
  session: Session,
  given: readonly string[],
  options: ServeOptions,
  isGiven: (option: string) => boolean,
): Promise<number> {
  session.streamDocuments()
  const uris = [...new Set(given)]
  if (options.recording !== undefined) {
    await serveRecording(session, options.recording, uris, options)
    throw interrupted()
  }
  refuseParts(uris, options)
  const { config: file } = options
  const hangups = file === undefined ? undefined : new Hangups(session)
  const line = file === undefined ? undefined : { file, uris, options, isGiven }
  // The reader of YAML is loaded by this option alone.
  const { HostServing, readConfig } = line === undefined ? {} : await import('./serve/host.js')
  const config = line && (await readConfig?.(session, line))
  const parsed = config ?? parseLine(session, uris, options)
  const listen = parseListenAddress(parsed.options.listen, '--listen')
  const access = await parsed.located(() => parseAccess(parsed.options, listen, session.signal))
  const certificate = await parsed.located(() => readCertificate(parsed.options, session.signal))
  const recording = await parsed.located(() => openRecording(session, parsed.options))
  const otlp = await parsed.located(() => parseOtlp(parsed.options))
  // The library of the metrics is loaded by this command alone.
  const { Metrics, formatFor } = await import('../metrics/metrics.js')
  const named = parsed.targets.map(({ uri }) => uri)
  const cpuTime = new CpuTime(named.some(makesVm) || config !== undefined)
  const budget = new Budget(parsed.share, () => cpuTime.spentMs())
  const stop = new AbortController()
  const signal = AbortSignal.any([session.signal, stop.signal])
  const metrics = new Metrics({
    version: manifest.version,
    more: () => [
      ...costSamples(cpuTime, budget),
      ...(host?.samples() ?? []),
      ...(pushing?.samples() ?? []),
    ],
  })
  // Without a budget nothing is held up, and each period is kept to the millisecond.
  const pace = config === undefined && parsed.share === undefined ? hostPace : budget
  const dashboard = new Dashboard(
    {
      targets: () => fleet.targets.map(({ uri }) => uri),
      measureCurve: uri => fleet.wantCurve(uri),
    },
    recording,
  )
  const listenTo = (target: FleetTarget): FleetListener =>
    together([listenerOf(session, metrics, target), dashboard.listenTo(target)])
  const fleet = new Fleet(listenTo, pace, signal)
  const host =
    line &&
    config &&
    hangups &&
    HostServing &&
    new HostServing(session, { line, config, fleet, budget, hangups })
  const { routes: more, upgrades } = dashboard.connecting
  const routes = routesOf(metrics, formatFor, more)
  const live = upgrades(access)
  const server = await serveHttp({ listen, access, certificate, routes, upgrades: live })
  const renewable: Renewable = {
    setCertificate: renewed => server.setCertificate(renewed),
    setToken: renewed => {
      if (access.token?.become(renewed)) live.disconnect()
    },
  }
  session.document({
    schemaVersion: 1,
    page: `${server.url}/`,
    url: `${server.url}/metrics`,
    targets: named,
    ...(line && { config: line.file }),
  })
  const found = config?.sources.length ? ', and the VMs that are found' : ''
  announce(session, {
    what: `Serving ${counted(named.length)}${found}`,
    url: server.url,
    listen,
    needsToken: access.token !== undefined,
    hasMetrics: true,
  })
  if (host === undefined) {
    fleet.serve(
      parsed.targets.map((target): FleetTarget => ({ ...target, key: target.uri, isNamed: true })),
    )
  }
  const pushing = otlp && (await Pushing.start(session, otlp, metrics))
  try {
    await Promise.race([
      fleet.ended(),
      ...(host === undefined ? [] : [host.run(renewable, signal)]),
    ])
  } finally {
    stop.abort()
    await Promise.all([server.close(), fleet.closed(), pushing?.end()])
    await recording?.close()
  }
  throw interrupted()
}

const interrupted = (): DirtyRateError =>
  new DirtyRateError('ERR_CANCELLED', 'interrupted', {
    hint: 'The server has ended, and its targets are closed.',
  })

/** Throws ERR_ARGUMENT if nothing is named, or if a target is a part of one. */
function refuseParts(uris: readonly string[], { config }: ServeOptions): void {
  if (uris.length === 0 && config === undefined) {
    throw argumentError(
      "missing required argument 'target'",
      'Give a target, such as libvirt:web, or --config FILE for a whole host.',
    )
  }
  if (uris.length > 0) checkChoice({ uris, all: false })
}

/** What the command line alone says, in the form of a configuration. */
function parseLine(
  session: Session,
  uris: readonly string[],
  options: ServeOptions,
): Pick<Config, 'options' | 'share' | 'targets' | 'located'> {
  const settings = parseSettings(session, options, uris)
  const share = options.budget === undefined ? undefined : parseBudget(options.budget, '--budget')
  const targets = uris.map(uri => ({ uri, label: uri, settings }))
  return { options, share, targets, located: check => check() }
}

/** The series of a target, and what is said about it. */
function listenerOf(
  session: Session,
  metrics: Metrics,
  { label, name, settings: { links } }: FleetTarget,
): FleetListener {
  const series = metrics.add(label, { links, name })
  return {
    ...noting(session, label, series),
    changed: target => series.change(target.settings.links, target.name),
    gone: () => metrics.remove(series),
  }
}

const counted = (targets: number): string => `${targets} target${targets === 1 ? '' : 's'}`
