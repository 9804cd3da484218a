/**
 * A curve. One run gives the pages that are dirty after 50 ms, after 100 ms and so on. A live
 * migration asks for exactly this: how much has to be sent again after a round of that length? The
 * example adds how long a network of 1 Gbit/s takes for it. If that is longer than the round, the
 * migration falls behind.
 *
 *     $ node examples/curve.mjs
 *     after 50 ms: 4.6 MiB, which the network sends in 39 ms
 *     after 200 ms: 13.1 MiB, which the network sends in 110 ms
 *     after 1000 ms: 35.8 MiB, which the network sends in 300 ms
 */

import { openTarget } from 'dirtyrate'

const NETWORK_BYTES_PER_MS = 125_000

const target = await openTarget('guest:random,pages=10000,rate=100MiB/s')
try {
  const { points, pageSize } = await target.measureDirtyCurve({ windows: ['50ms', '200ms', '1s'] })
  for (const { requestedMs, pages } of points) {
    const bytes = pages * pageSize
    const size = (bytes / 2 ** 20).toFixed(1)
    const sendMs = (bytes / NETWORK_BYTES_PER_MS).toFixed(0)
    console.log(`after ${requestedMs} ms: ${size} MiB, which the network sends in ${sendMs} ms`)
  }
} finally {
  await target.close()
}
