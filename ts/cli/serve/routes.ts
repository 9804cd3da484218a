/** The paths that the server of `serve` answers. */

import type { Format, Metrics } from '../../metrics/metrics.js'
import type { Answer, Route, Routes } from '../../server/http.js'
import { recent } from '../../server/recent.js'
import { pageRoutes } from './page.js'

/** Scrapes within this time get the same text, so that no number of them costs more. */
const SHARED_MS = 500

/** `more` are the paths beside the metrics. */
export function routesOf(
  metrics: Metrics,
  formatFor: (accept: string) => Format,
  more: readonly (readonly [path: string, route: Route])[] = [],
): Routes {
  const written = (format: Format): (() => Promise<Answer>) =>
    recent(async () => {
      const { contentType, text } = await metrics.expose(format)
      return { contentType, body: Buffer.from(text) }
    }, SHARED_MS)
  const formats = { openmetrics: written('openmetrics'), text: written('text') }
  return new Map<string, Route>([
    ...pageRoutes(),
    ['/metrics', { answer: ({ headers }) => formats[formatFor(headers.accept ?? '')]() }],
    ...more,
  ])
}
