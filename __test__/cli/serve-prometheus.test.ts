/** Prometheus itself: it lints the metrics, and a server of it scrapes `dirtyrate serve`. */

import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { MEMORY } from '../fixtures/machine.js'
import { child, served, startedPrometheus } from '../fixtures/prometheus.js'

const guest = `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY},log=ring,vcpus=2`
const TOKEN = '00112233445566778899aabbccddeeff'

/** The URL of the metrics of a guest that is served with a token. */
const servedGuest = (): Promise<string> =>
  served(
    [
      ...[guest, '--every', '300ms', '--window', '100ms', '--windows', '20ms,50ms'],
      ...['--bandwidth', '10Gbit/s,1Mbit/s', '--downtime', '300ms'],
    ],
    { DIRTYRATE_TOKEN: TOKEN },
  )

const headers = { authorization: `Bearer ${TOKEN}` }

describeInstalled('promtool', 'promtool', () => {
  it('finds nothing to criticise in the metrics', async () => {
    const url = await servedGuest()
    let metrics = ''
    await expect
      .poll(
        async () => {
          metrics = await (await fetch(url, { headers })).text()
          return metrics
        },
        { timeout: 30_000 },
      )
      .toContain('dirtyrate_prediction_total_seconds{')
    const promtool = child('promtool', ['check', 'metrics'])
    promtool.stdin.end(metrics)
    const said = Promise.all([text(promtool.stdout), text(promtool.stderr)])
    const [status] = await once(promtool, 'close')
    expect({ status, said: await said }).toEqual({ status: 0, said: ['', ''] })
  })
})

describeInstalled('prometheus', 'a Prometheus', () => {
  it('scrapes as OpenMetrics, and computes the rate that the guest has', async () => {
    const url = new URL(await servedGuest())
    const {
      url: prometheus,
      ask,
      numberOf,
      above,
    } = await startedPrometheus({
      configuration: `scrape_configs:
  - job_name: dirtyrate
    scrape_interval: 500ms
    authorization: { credentials: '${TOKEN}' }
    static_configs: [{ targets: ['${url.host}'] }]
`,
    })
    await above('count_over_time(dirtyrate_target_up[1m])', 8)
    expect(await numberOf('up')).toBe(1)
    const at = await numberOf('timestamp(dirtyrate_target_up)')
    // All three are from one scrape, so that the guest's own count bounds what was measured.
    const [dirty, low, high] = await Promise.all(
      [
        'dirtyrate_dirty_bytes_total',
        'dirtyrate_truth_bytes_total{bound="low"}',
        'dirtyrate_truth_bytes_total{bound="high"}',
      ].map(query => numberOf(`${query} @ ${at}`)),
    )
    expect(low).toBeGreaterThan(0)
    expect(dirty).toBeGreaterThanOrEqual(low as number)
    expect(dirty).toBeLessThanOrEqual(high as number)
    const verdicts = await ask('dirtyrate_prediction_verdict == 1')
    expect(
      verdicts.map(({ metric: { bandwidth, verdict } }) => [bandwidth, verdict]).sort(),
    ).toEqual([
      ['10Gbit/s', 'converges'],
      ['1Mbit/s', 'stalls'],
    ])
    const metadata = await fetch(`${prometheus}/api/v1/metadata?metric=dirtyrate_dirty_bytes`)
    // Only in OpenMetrics is a counter called without its ending.
    expect(await metadata.json()).toMatchObject({
      data: { dirtyrate_dirty_bytes: [{ type: 'counter' }] },
    })
  })
})
