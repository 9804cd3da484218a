/**
 * `dirtyrate serve --record FILE` records what is measured, and `dirtyrate serve --recording FILE`
 * shows it, and measures nothing.
 */

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import manifest from '../../../package.json' with { type: 'json' }
import { History } from '../../dashboard/history.js'
import { Hub } from '../../dashboard/hub.js'
import { MOST_TARGETS } from '../../dashboard/recording.js'
import type { PackedEvent } from '../../dashboard/records.js'
import { argumentError } from '../../ground/errors.js'
import { parseListenAddress } from '../../server/address.js'
import { serveHttp } from '../../server/http.js'
import { readRecording } from '../recording/read.js'
import { RecordingFile } from '../recording/write.js'
import type { Session } from '../session.js'
import { parseAccess } from './access.js'
import { announce } from './announce.js'
import { connecting } from './dashboard.js'
import type { ServeOptions } from './options.js'
import { routesOf } from './routes.js'
import { readCertificate } from './tls.js'

/** The file that the events go to; undefined if nobody wants one. Throws ERR_ARGUMENT. */
export async function openRecording(
  session: Session,
  { record }: ServeOptions,
): Promise<RecordingFile | undefined> {
  if (record === undefined) return undefined
  const { version } = manifest
  return RecordingFile.open(record, '--record', { version, note: text => session.note(text) })
}

/** Shows `file` until the session is interrupted, and then resolves. Throws ERR_ARGUMENT. */
export async function serveRecording(
  session: Session,
  file: string,
  uris: readonly string[],
  options: ServeOptions,
): Promise<void> {
  if (
    uris.length > 0 ||
    [options.record, options.otlp, options.config].some(one => one !== undefined)
  ) {
    throw argumentError(
      '--recording: it shows a file, and cannot be combined with targets, --config, --record or --otlp',
      'Leave out --recording, or all of the others.',
    )
  }
  const listen = parseListenAddress(options.listen, '--listen')
  const access = await parseAccess(options, listen, session.signal)
  const certificate = await readCertificate(options, session.signal)
  const { history, targets } = await readHistory(session, file)
  const about = { version: manifest.version, run: randomUUID(), source: 'recording' } as const
  const { routes, upgrades } = connecting(new Hub(history, about, () => targets), () => {
    throw argumentError('This is a recording.')
  })
  const { Metrics, formatFor } = await import('../../metrics/metrics.js')
  const metrics = new Metrics({ version: manifest.version })
  const server = await serveHttp({
    listen,
    access,
    certificate,
    routes: routesOf(metrics, formatFor, routes),
    upgrades: upgrades(access),
  })
  session.document({
    schemaVersion: 1,
    page: `${server.url}/`,
    url: `${server.url}/metrics`,
    targets,
  })
  announce(session, {
    what: `Showing ${file}`,
    url: server.url,
    listen,
    needsToken: access.token !== undefined,
    hasMetrics: false,
  })
  try {
    if (!session.signal.aborted) await once(session.signal, 'abort')
  } finally {
    await server.close()
  }
}

/** Only as much as a history keeps. */
async function readHistory(
  session: Session,
  file: string,
): Promise<{ history: History; targets: readonly string[] }> {
  const history = new History({ ageMs: Number.POSITIVE_INFINITY })
  const targets = new Set<string>()
  let leftOut = 0
  const take = (event: PackedEvent): void => {
    if (targets.size >= MOST_TARGETS && !targets.has(event.target)) {
      leftOut++
      return
    }
    history.addPacked(event)
    targets.add(event.target)
  }
  const { unreadable } = await readRecording(file, '--recording', take, session.signal)
  if (unreadable > 0) session.note(`${file}: lines that cannot be read: ${unreadable}.`)
  if (leftOut > 0)
    session.note(
      `${file}: it has more than ${MOST_TARGETS} targets: ${leftOut} events are left out.`,
    )
  if (history.droppedUpTo > 0)
    session.note(`${file}: it is too large to be shown whole. Its oldest events are left out.`)
  return { history, targets: [...targets] }
}
