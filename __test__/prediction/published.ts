/** The published curve, with the estimates of its author's script. */

import { readFileSync } from 'node:fs'
import type { PublishedCurve } from '../../ts/prediction/published-curve.js'

export const publishedFile: string = new URL('gudkov-2023-memcached.json', import.meta.url).pathname

export const published: PublishedCurve & {
  publishedEstimatesSeconds: {
    downtimeMs: (number | null)[]
    byBandwidthGbps: Record<string, (number | null)[]>
  }
} = JSON.parse(readFileSync(publishedFile, 'utf8'))

/** A bandwidth in the author's units: 0.1 Gbps is 100 Mbit/s, and both have powers of two. */
export function bandwidthOf(gbps: string): string {
  return gbps === '0.1' ? '100Mbit/s' : `${gbps}Gbit/s`
}
