/**
 * Pushes the metrics by OTLP over HTTP, with the libraries of OpenTelemetry, which read its
 * variables of the environment. It is a bundle of its own, that only the option --otlp loads.
 */

import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { type ExportResult, ExportResultCode, hrTime } from '@opentelemetry/core'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources'
import {
  type CollectionResult,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics'
import type { Sample } from '../families.js'
import { Points } from './points.js'

/** A push waits no longer for its answer. */
const LONGEST_PUSH_MS = 10_000
/** The end waits no longer for the last push. */
const LONGEST_END_MS = 3_000
/** More points go into a further request, so that none is larger than receivers take. */
const MOST_POINTS = 8192

export interface PushPlan {
  /** The whole URL, with `/v1/metrics`. */
  readonly url: string
  readonly everyMs: number
  readonly version: string
  samples(): Iterable<Sample>
  /** A request was answered, or failed for good. */
  answered(failure: string | undefined): void
}

export interface Push {
  /** Pushes once more, and ends. Never rejects. */
  end(): Promise<void>
}

export function startPush({ url, everyMs, version, samples, answered }: PushPlan): Push {
  const resource = resourceFromAttributes({
    'service.name': 'dirtyrate',
    'service.version': version,
    'service.instance.id': randomUUID(),
    'host.name': hostname(),
  }).merge(detectResources({ detectors: [envDetector] }))
  const scope = { name: 'dirtyrate', version }
  const points = new Points(hrTime())
  const collect = async (): Promise<CollectionResult> => {
    const metrics = points.at(hrTime(), samples())
    return { resourceMetrics: { resource, scopeMetrics: [{ scope, metrics }] }, errors: [] }
  }
  const timeoutMillis = Math.min(everyMs, LONGEST_PUSH_MS)
  const reader = new PeriodicExportingMetricReader({
    exporter: telling(new OTLPMetricExporter({ url, timeoutMillis }), answered),
    exportIntervalMillis: everyMs,
    exportTimeoutMillis: timeoutMillis,
    maxExportBatchSize: MOST_POINTS,
  })
  reader.setMetricProducer({ collect })
  return {
    end: () => reader.shutdown({ timeoutMillis: LONGEST_END_MS }).catch(() => {}),
  }
}

/** The exporter, which also tells how each request ended. */
function telling(exporter: PushMetricExporter, answered: PushPlan['answered']): PushMetricExporter {
  return {
    export(metrics: ResourceMetrics, done: (result: ExportResult) => void) {
      exporter.export(metrics, result => {
        answered(result.code === ExportResultCode.SUCCESS ? undefined : failureOf(result.error))
        done(result)
      })
    },
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  }
}

function failureOf(error: (Error & { code?: unknown; data?: unknown }) | undefined): string {
  const { code, message } = error ?? {}
  if (typeof code === 'number') return `it answers with HTTP status ${code}`
  return message ?? 'it gives no reason'
}
