/** The paths that the server of `serve` answers. */

import manifest from '../../../package.json' with { type: 'json' }
import type { Format, Metrics } from '../../metrics/metrics.js'
import type { Answer, Routes } from '../../server/http.js'
import { recent } from '../../server/recent.js'
import { homePage } from './home-page.js'

const HTML = 'text/html; charset=utf-8'
/** Scrapes within this time get the same text, so that no number of them costs more. */
const SHARED_MS = 500

export function routesOf(metrics: Metrics, formatFor: (accept: string) => Format): Routes {
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
