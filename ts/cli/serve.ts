/** `dirtyrate serve TARGET…`: measures targets again and again, and serves the figures by HTTP. */

import { setMaxListeners } from 'node:events'
import { hostname } from 'node:os'
import manifest from '../../package.json' with { type: 'json' }
import { argumentError, DirtyRateError } from '../ground/errors.js'
import { parseDuration } from '../ground/units.js'
import { parseWindow, parseWindows } from '../measurement/windows.js'
import { type LinkOptions, parseLinks } from '../metrics/links.js'
import type { Format, Metrics } from '../metrics/metrics.js'
import { type ListenAddress, parseListenAddress } from '../server/address.js'
import { type Answer, type Routes, serveHttp } from '../server/http.js'
import { recent } from '../server/recent.js'
import { Rounds, type RoundsListener, type RoundsPlan } from '../server/rounds.js'
import { readToken, TOKEN_VARIABLE, type Token } from '../server/token.js'
import { openTarget } from '../targets/open.js'
import type { Target } from '../targets/target.js'
import { failureOf } from './failure.js'
import { withOwnHint } from './guest-end.js'
import { homePage } from './serve/home-page.js'
import type { Session } from './session.js'
import { checkChoice } from './several-targets.js'
import { type ModeOptions, parseModeOptions } from './target.js'
import { visible } from './text.js'
import { parseWait, type WaitOptions, waitBefore } from './wait.js'

export interface ServeOptions extends ModeOptions, WaitOptions, LinkOptions {
  listen: string
  tokenFile?: string
  allowHost?: string
  every: string
  window: string
  curveEvery: string
  windows?: string
}

/** Where the server listens without --listen. */
export const DEFAULT_LISTEN = '127.0.0.1:9753'
/** The word that switches curves off. */
const NEVER = 'never'
/** The windows of a curve without --windows. A round takes as long as the longest one. */
const WINDOWS = ['50ms', '100ms', '200ms', '500ms', '1s', '2s', '5s']
/** Each window has series of its own. */
const MOST_WINDOWS = 32
const LONGEST_PERIOD_MS = 24 * 3_600_000

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
  const wait = parseWait(options)
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
  const open = async (uri: string): Promise<Target> => {
    const { force } = options
    const target = await openTarget(uri, { signal, mode: plan.measuring.mode, force })
    try {
      await waitBefore(session, target, wait)
      return target
    } catch (error) {
      await target.close()
      throw withOwnHint(error, target)
    }
  }
  const rounds = uris.map((uri, at) => {
    const offsetMs = (plan.everyMs * at) / uris.length
    const listener = noting(session, uri, metrics.add(uri))
    return new Rounds(() => open(uri), { ...plan, offsetMs }, listener)
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

/** Checks what is measured, and when. Throws ERR_ARGUMENT. */
function parsePlan(options: ServeOptions, uris: readonly string[]): Omit<RoundsPlan, 'offsetMs'> {
  const everyMs = parseWindow(options.every, '--every')
  const window = parseWindow(options.window, '--window')
  if (window > everyMs) {
    throw argumentError(
      `--window: ${options.window} is longer than --every ${options.every}`,
      'Give a window that is not longer.',
    )
  }
  const mode = parseModeOptions(options, uris)
  const windows = options.windows === undefined ? undefined : parseList(options.windows)
  const plan = { everyMs, measuring: { ...mode, window } }
  if (options.curveEvery === NEVER) {
    if (windows === undefined) return plan
    throw argumentError(
      '--windows: it is for curves, and --curve-every never measures none',
      'Leave out one of the two.',
    )
  }
  const curve = {
    everyMs: parsePeriod(options.curveEvery, '--curve-every'),
    windows: (target: Target) => windows ?? parseList((target.curveWindows ?? WINDOWS).join(',')),
    measuring: mode,
  }
  return { ...plan, curve }
}

function parseList(text: string): number[] {
  const windows = parseWindows(text.split(','), '--windows', '50ms,100ms,1s')
  if (windows.length <= MOST_WINDOWS) return windows
  throw argumentError(
    `--windows: ${windows.length} windows are too many for metrics`,
    `Give at most ${MOST_WINDOWS}.`,
  )
}

function parsePeriod(text: string, name: string): number {
  const isPeriod = (ms: number): boolean => ms >= 1000 && ms <= LONGEST_PERIOD_MS
  const ms = parseDuration(text, name, isPeriod)
  if (isPeriod(ms)) return ms
  throw argumentError(`${name}: '${text}' is out of range`, `Give 1s to 24h, or ${NEVER}.`)
}

/** Who may ask. An address that other hosts reach is served only with a token. */
async function parseAccess(
  { tokenFile, allowHost }: ServeOptions,
  { address, isLoopback }: ListenAddress,
): Promise<{ hostNames: string[]; token: Token | undefined }> {
  const token = await readToken(tokenFile, '--token-file')
  if (token === undefined && !isLoopback) {
    throw argumentError(
      `--listen: other hosts reach ${address}, so that the server needs a token`,
      `Give --token-file FILE, or set ${TOKEN_VARIABLE}: openssl rand -hex 32 makes one.`,
    )
  }
  const names = (allowHost ?? '').split(',').map(name => name.trim().toLowerCase())
  return {
    hostNames: ['localhost', hostname().toLowerCase(), ...names.filter(name => name !== '')],
    token,
  }
}

const HTML = 'text/html; charset=utf-8'
/** Scrapes within this time get the same text, so that no number of them costs more. */
const SHARED_MS = 500

function routesOf(metrics: Metrics, formatFor: (accept: string) => Format): Routes {
  const written = (format: Format): (() => Promise<Answer>) =>
    recent(async () => {
      const { contentType, text } = await metrics.expose(format)
      return { contentType, body: Buffer.from(text) }
    }, SHARED_MS)
  const formats = { openmetrics: written('openmetrics'), text: written('text') }
  return new Map<string, NonNullable<ReturnType<Routes['get']>>>([
    ['/', () => ({ contentType: HTML, body: homePage(manifest.version) })],
    ['/metrics', ({ headers }) => formats[formatFor(headers.accept ?? '')]()],
  ])
}

/** Says on standard error that a target fails, once in a row of failures, and when it is back. */
function noting(session: Session, uri: string, series: RoundsListener): RoundsListener {
  let code: string | undefined
  const back = (): void => {
    if (code !== undefined) session.note(`${visible(uri)}: it is measured again.`)
    code = undefined
  }
  return {
    described: description => series.described(description),
    followed: () => {
      back()
      series.followed()
    },
    measured: (...result) => {
      back()
      series.measured(...result)
    },
    curveMeasured: (...curve) => series.curveMeasured(...curve),
    curveFailed: error => {
      session.note(`${visible(uri)}: no curve: ${failureOf(error).message}`)
      series.curveFailed(error)
    },
    failed: (error, retryMs) => {
      const failure = failureOf(error)
      if (failure.code !== code) {
        session.note(`${visible(uri)}: ${failure.message}`)
        session.note(`It is tried again after ${Math.round(retryMs / 1000)} s, then more rarely.`)
      }
      code = failure.code
      series.failed(error, retryMs)
    },
  }
}

const counted = (targets: number): string => `${targets} target${targets === 1 ? '' : 's'}`
