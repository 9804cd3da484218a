/** deploy/grafana/: every query of the dashboard gives real data of a real `serve`. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { families, type MetricName } from '../../ts/metrics/families.js'
import { root } from '../fixtures/command.js'
import { describeInstalled } from '../fixtures/installed-programs.js'
import { MEMORY } from '../fixtures/machine.js'
import { served, startedPrometheus } from '../fixtures/prometheus.js'

/** A busy machine needs several times as long as a quiet one. */
vi.setConfig({ testTimeout: 240_000 })

interface Panel {
  readonly title: string
  readonly type: string
  readonly fieldConfig: { readonly defaults: { readonly unit: string } }
  readonly targets: readonly { readonly expr: string; readonly legendFormat?: string }[]
}
interface Dashboard {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string; definition?: string }[] }
}

const dashboard: Dashboard = JSON.parse(
  readFileSync(join(root, 'deploy/grafana/dirtyrate.json'), 'utf8'),
)
const queries = dashboard.panels.flatMap(({ title, type, fieldConfig, targets }) =>
  targets.map(target => ({ title, type, unit: fieldConfig.defaults.unit, ...target })),
)

/** A query as Grafana sends it, with all hosts and all VMs. */
const filled = (query: string): string =>
  query.replaceAll(/\$(job|host|vm)\b/g, '.*').replaceAll('$__rate_interval', '1m')

const metricsIn = (query: string): MetricName[] =>
  (query.match(/\b(?:dirtyrate|process)_\w+/g) ?? []) as MetricName[]

/** The unit that Grafana shows for what a query gives, by the names of its metrics. */
function unitOf(query: string): string {
  const [name = ''] = metricsIn(query)
  const isCount = /^(count|sum by \(bandwidth|sum\(dirtyrate_target_up|max by)/.test(query)
  if (isCount) return 'short'
  if (name.endsWith('_bytes_per_second') || name === 'dirtyrate_dirty_bytes_total') return 'Bps'
  if (/^(sum by \(\w+\) \()?rate\(\w+_seconds_total/.test(query)) return 'percentunit'
  if (query.includes('rate(')) return 'ops'
  if (name.endsWith('_bytes')) return 'bytes'
  return name.endsWith('_seconds') ? 's' : 'none'
}

describe('the dashboard', () => {
  it('asks only for metrics that there are, by labels that they have', () => {
    expect(queries.length).toBeGreaterThan(14)
    for (const { expr, legendFormat = '' } of queries) {
      expect(metricsIn(expr)).not.toEqual([])
      const known = ['job', 'instance']
      for (const metric of metricsIn(expr)) {
        expect(families[metric], metric).toBeDefined()
        known.push(...(families[metric]?.labels ?? []))
      }
      const used = [
        ...`${expr}`.matchAll(/(\w+)(?:=~|=)"/g),
        ...legendFormat.matchAll(/{{(\w+)}}/g),
      ]
      for (const [, label = ''] of used) expect(known, expr).toContain(label)
    }
  })

  it('shows each figure in its unit', () => {
    for (const { title, expr, unit } of queries)
      expect([title, unit]).toEqual([title, unitOf(expr)])
  })
})

describeInstalled('prometheus', 'a Prometheus that scrapes serve', () => {
  it('has data for each query of the dashboard', async () => {
    const metrics = await served([
      `guest:stride,pages=4000,rate=20MiB/s,memory=${MEMORY},log=ring,vcpus=2`,
      `guest:random,pages=8000,rate=40MiB/s,memory=${MEMORY}`,
      ...['--every', '1s', '--window', '100ms', '--curve-every', '2s', '--windows', '20ms,100ms'],
      ...['--bandwidth', '10Gbit/s,1Mbit/s', '--downtime', '300ms'],
    ])
    const { ask, above } = await startedPrometheus({
      configuration: `scrape_configs:
  - job_name: dirtyrate
    scrape_interval: 500ms
    static_configs: [{ targets: ['${new URL(metrics).host}'] }]
`,
    })
    await above('count(dirtyrate_prediction_total_seconds)', 3)
    await above('min(count_over_time(dirtyrate_target_up[1m]))', 4)
    for (const { title, expr } of queries) {
      const series = await ask(filled(expr))
      expect(series.length, `${title}: ${expr}`).toBeGreaterThan(0)
      for (const { value } of series) expect(Number(value[1]), title).toBeGreaterThanOrEqual(0)
    }
    // The guest is paced: what the panel shows in bytes per second is its rate.
    const rate = queries.find(({ title }) => title === 'Dirty rate')?.expr ?? ''
    const stride = (await ask(filled(rate))).find(({ metric }) => metric.target?.includes('stride'))
    expect(Number(stride?.value[1])).toBeGreaterThan(5 * 2 ** 20)
    expect(Number(stride?.value[1])).toBeLessThan(80 * 2 ** 20)
    for (const { definition = '' } of dashboard.templating.list) {
      const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? []
      if (definition === '') continue
      expect(await ask(`group by (${label}) (${filled(selector)})`), definition).not.toEqual([])
    }
  })
})
