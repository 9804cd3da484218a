/** The options --otlp and --otlp-every: where and how often the metrics are pushed. */

import manifest from '../../../package.json' with { type: 'json' }
import { argumentError } from '../../ground/errors.js'
import { parseDuration } from '../../ground/units.js'
import type { Sample } from '../../metrics/families.js'
import type { Metrics } from '../../metrics/metrics.js'
import { parseServerUrl } from '../server-url.js'
import type { Session } from '../session.js'
import { visible } from '../text.js'
import type { ServeOptions } from './options.js'

export interface OtlpPlan {
  /** The whole URL, with the path of metrics. */
  readonly url: string
  readonly everyMs: number
}

const METRICS_PATH = '/v1/metrics'
const URL_HINTS = {
  example: 'Give it as http://collector:4318, without /v1/metrics.',
  secrets: 'Leave it out, and set OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20TOKEN.',
}
const isPeriod = (ms: number): boolean => ms >= 1000 && ms <= 3_600_000

/** Throws ERR_ARGUMENT. Returns undefined if nothing is to be pushed. */
export function parseOtlp({ otlp, otlpEvery }: ServeOptions): OtlpPlan | undefined {
  const everyMs = parseDuration(otlpEvery, '--otlp-every', isPeriod)
  if (!isPeriod(everyMs)) {
    throw argumentError(`--otlp-every: '${otlpEvery}' is out of range`, 'Give 1s to 1h.')
  }
  if (otlp === undefined) return undefined
  const url = parseServerUrl(otlp, '--otlp', URL_HINTS)
  const path = url.pathname.replace(/\/+$/, '')
  url.pathname = path.endsWith(METRICS_PATH) ? path : `${path}${METRICS_PATH}`
  return { url: url.href, everyMs }
}

/** Pushes all metrics, and says when that begins to fail and when it succeeds again. */
export class Pushing {
  readonly #end: () => Promise<void>
  readonly #pushes = { accepted: 0, failed: 0 }

  static async start(session: Session, plan: OtlpPlan, metrics: Metrics): Promise<Pushing> {
    // The libraries of OpenTelemetry are loaded by this option alone.
    const { startPush } = await import('../../metrics/otlp/push.js')
    return new Pushing(session, plan, metrics, startPush)
  }

  private constructor(
    session: Session,
    { url, everyMs }: OtlpPlan,
    metrics: Metrics,
    startPush: typeof import('../../metrics/otlp/push.js').startPush,
  ) {
    let lastFailure: string | undefined
    const answered = (failure: string | undefined): void => {
      this.#pushes[failure === undefined ? 'accepted' : 'failed']++
      if (failure !== undefined && lastFailure === undefined)
        session.note(
          `The metrics cannot be pushed to ${url}: ${visible(failure)}. They are tried again.`,
        )
      if (failure === undefined && lastFailure !== undefined)
        session.note(`The metrics are pushed to ${url} again.`)
      lastFailure = failure
    }
    const { version } = manifest
    const push = startPush({ url, everyMs, version, samples: () => metrics.samples(), answered })
    this.#end = push.end
  }

  *samples(): Generator<Sample, void, undefined> {
    for (const [result, value] of Object.entries(this.#pushes))
      yield { name: 'dirtyrate_otlp_pushes_total', labels: { result }, value }
  }

  /** Pushes once more, and ends. */
  end(): Promise<void> {
    return this.#end()
  }
}
